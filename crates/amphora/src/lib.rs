//! Amphora's public door: export, pack, inspect, verify, run, and the store, in a few plain types.
#![forbid(unsafe_code)]

mod schema;

pub use amphora_error::{Error, ErrorKind, Result, printable, quoted};
pub use amphora_files::durable::discard_staged;
pub use schema::{schema, schema_names};
