//! Writers of pickles, PyTorch files, zip archives and safetensors files, healthy or not.

#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod archive;
pub(crate) mod pickle;

use amphora_checkpoint::{Checkpoint, Limits};
use amphora_error::{Error, ErrorKind};

/// Reads `bytes` as a checkpoint with the default limits.
pub(crate) fn read(bytes: &[u8]) -> Result<Checkpoint, Error> {
    Checkpoint::from_bytes(bytes.to_vec().into(), &Limits::default())
}

/// Whether `bytes` are refused with this kind and rule, and a message that contains `needle`.
pub(crate) fn refused(
    bytes: &[u8],
    kind: ErrorKind,
    rule: &str,
    needle: &str,
) -> Result<(), String> {
    match read(bytes) {
        Ok(checkpoint) => Err(format!("accepted: {:?}", checkpoint.tensors().keys())),
        Err(error) if error.kind() != kind || error.rule() != rule => Err(format!("{error:?}")),
        Err(error) if !error.to_string().contains(needle) => Err(format!("{error:?}")),
        Err(_) => Ok(()),
    }
}

/// A safetensors file with `header` and `data`.
pub(crate) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

/// A PyTorch file in zip format with these storages under `data/`.
pub(crate) fn torch_zip(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    torch_zip_with(pickle, storages, &[("byteorder", b"little")])
}

/// A PyTorch file in zip format with further entries.
pub(crate) fn torch_zip_with(
    pickle: &[u8],
    storages: &[(&str, &[u8])],
    further: &[(&str, &[u8])],
) -> Vec<u8> {
    let mut entries = vec![archive::Entry::stored("archive/data.pkl", pickle)];
    for (name, data) in further {
        entries.push(archive::Entry::stored(&format!("archive/{name}"), data));
    }
    for (key, data) in storages {
        entries.push(archive::Entry::stored(&format!("archive/data/{key}"), data));
    }
    archive::write(&entries)
}

/// A file in PyTorch's stream format; each storage with its number of elements.
pub(crate) fn torch_legacy(pickle: &[u8], storages: &[(&str, u64, &[u8])]) -> Vec<u8> {
    use pickle::{V, dump};
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(dump(&V::Int(1001)));
    file.extend(dump(&V::Dict(vec![
        (V::text("protocol_version"), V::Int(1001)),
        (V::text("little_endian"), V::Bool(true)),
    ])));
    file.extend(pickle);
    let keys = storages.iter().map(|(key, ..)| V::text(key)).collect();
    file.extend(dump(&V::List(keys)));
    for (_, count, data) in storages {
        file.extend(count.to_le_bytes());
        file.extend(*data);
    }
    file
}
