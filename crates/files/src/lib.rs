//! Everything in Amphora that touches the file system.
//!
//! * [`RelativePath`]: the one canonical form of a path named by a model, a manifest or an archive.
//! * [`Directory`]: an opened directory; [`Directory::open_file`] is the only way in which a file
//!   that some other file names is ever opened: beneath the directory, no links, regular files only.
//! * [`OpenedFile`]: an open descriptor and its size; its bytes are read into memory that nobody
//!   else can change, so that what was hashed is what is used.
//! * [`Digest`]: SHA-256 as 32 bytes, parsed strictly.
//! * [`json`]: JSON without double keys, bounded in depth and size.
//! * [`durable`]: temporary sibling, fsync, rename without replacing, fsync of the directory.
//!
//! ```
//! use amphora_files::{Directory, RelativePath};
//!
//! let scratch = tempfile::tempdir().unwrap();
//! amphora_files::durable::write_file(&scratch.path().join("labels.json"), b"{}").unwrap();
//!
//! let directory = Directory::open(scratch.path()).unwrap();
//! let file = directory.open_file(&RelativePath::parse("labels.json").unwrap()).unwrap();
//! assert_eq!(file.len(), 2);
//! assert!(RelativePath::parse("../etc/passwd").is_err());
//! ```

mod beneath;
mod digest;
pub mod durable;
pub mod json;
mod memory;
mod opened;
mod relative;

pub use beneath::{Directory, Entry, EntryKind};
pub use digest::{Digest, Hasher, sha256};
pub use opened::{OpenedFile, Section};
pub use relative::RelativePath;
