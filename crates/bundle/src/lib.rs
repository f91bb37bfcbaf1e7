//! The bundle: manifest, identity, layout on disk, archives and the store.
