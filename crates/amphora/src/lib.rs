//! The public facade: export, pack, open, verify, run.
