//! The store under attack: killed writers, full disks, rivals, swapped files.
//!
//! | fault | answer | test |
//! |---|---|---|
//! | a file is swapped between check and use | the checked bytes, or untrusted | `swaps::swapped_files_are_never_used` |
//! | a file shrinks while it is read | the bytes, or an error; no signal | `swaps::files_that_shrink_while_read_end_in_an_answer` |
//! | SIGKILL at any moment | nothing lost | `kills::random_moments_lose_nothing`, `kills::every_system_call_loses_nothing` |
//! | power loss | fsync before rename, the directory after | `order::*` |
//! | a failing fsync, write, rename | I/O, not published | `errors::every_failing_system_call_publishes_nothing` |
//! | disk full, no inodes, file-size limit | I/O with the bytes needed | `disk::*` |
//! | read-only, no permission, name too long | I/O in plain words | `disk::*` |
//! | two writers, same or different content | all succeed, one object each | `rivals::packers_of_one_bundle_all_succeed` |
//! | a writer is killed with the lock | the next one waits for nothing | `locks::a_dead_holder_holds_nothing` |
//! | a lock is held too long | busy, naming the holder | `locks::a_held_lock_names_process_and_command` |
//! | `clean` while others read or pack | what is read stays | `rivals::sixteen_processes_lose_nothing` |
//! | bit rot | untrusted, the others are served | `rot::*` |
//! | half-made store, foreign files, newer version | ignored with a warning; unsupported | `rot::*` |
//! | process number used again, stale temporaries | swept, no living writer's | `locks::*` |
//! | a file system without locks or without NOREPLACE | unsupported; works | `errors::file_systems_that_can_less` |
//! | the clock jumps | no panic | `rot::dates_far_away_are_only_dates` |

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests"
)]

mod disk;
mod errors;
mod kills;
mod locks;
mod order;
mod rivals;
mod rot;
mod shown;
#[path = "../support/mod.rs"]
mod support;
mod swaps;
mod trace;
mod worker;
