//! PyTorch files: a pickle that describes tensors, and storages that hold their elements.

mod legacy;
mod state_dict;
mod view;

use std::collections::{BTreeMap, HashMap};

use amphora_error::{Error, Result, quoted};
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::archive::Archive;
use crate::limits::Budget;
use crate::pickle::Pickle;
use crate::{Limits, Tensor};

pub(crate) use legacy::{is_legacy, read as read_legacy};

/// What a PyTorch file holds: the tensors of its state dict, and the configuration beside it.
pub(crate) type Content = (BTreeMap<String, Tensor>, Option<Map<String, Value>>);

/// The storages of a file.
struct Storages<'a> {
    /// Reads the bytes of a storage as they are in the file; `None` where there is no such storage.
    #[expect(clippy::type_complexity, reason = "named once, used once")]
    fetch: Box<dyn FnMut(&str, &mut Budget) -> Result<Option<Bytes>> + 'a>,
    /// Storages that were read, so that those that tensors share are read once.
    cache: HashMap<String, Bytes>,
    big_endian: bool,
    budget: Budget,
}

impl Storages<'_> {
    fn bytes(&mut self, key: &str) -> Result<Bytes> {
        if let Some(bytes) = self.cache.get(key) {
            return Ok(bytes.clone());
        }
        let bytes = (self.fetch)(key, &mut self.budget)?.ok_or_else(|| {
            Error::malformed(
                "storage-missing",
                format!("the file has no storage {}", quoted(key)),
            )
        })?;
        self.cache.insert(key.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

/// Reads the zip format: `<root>/data.pkl`, `<root>/data/<key>` for each storage, `<root>/byteorder`.
pub(crate) fn read_zip(file: &Bytes, limits: &Limits) -> Result<Content> {
    let archive = Archive::open(file.clone(), limits)?;
    let mut budget = Budget::new(file.len(), limits);
    let root = root(&archive)?;
    let entry = |name: &str| format!("{root}/{name}");
    let pickle = archive.read(&entry("data.pkl"), &mut budget)?;
    let pickle = pickle.unwrap_or_default();
    let (object, length) = Pickle::decode(&pickle, "data.pkl", limits)?;
    if length != pickle.len() {
        return Err(
            Error::malformed("pickle-tail", "bytes follow the end of the pickle")
                .at(entry("data.pkl")),
        );
    }
    // Files of before 2.1 do not say; PyTorch takes them for little-endian.
    let order = archive.read(&entry("byteorder"), &mut budget)?;
    let big_endian = match order.as_deref() {
        None | Some(b"little") => false,
        Some(b"big") => true,
        Some(_) => {
            return Err(Error::malformed("byte-order", "the byte order is unknown")
                .expected("little or big")
                .at(entry("byteorder")));
        }
    };
    let storages = Storages {
        fetch: Box::new(|key, budget| archive.read(&entry(&format!("data/{key}")), budget)),
        cache: HashMap::new(),
        big_endian,
        budget,
    };
    content(&object, storages, limits)
}

/// The folder that holds everything: the one with `data.pkl` in it.
fn root(archive: &Archive) -> Result<String> {
    let mut roots = archive.names().filter_map(|name| {
        let root = name.strip_suffix("/data.pkl")?;
        (!root.contains('/')).then_some(root)
    });
    let (Some(root), None) = (roots.next(), roots.next()) else {
        return Err(Error::malformed(
            "torch-zip",
            "this zip archive is not a PyTorch checkpoint: it does not have exactly one data.pkl",
        ));
    };
    let constants = format!("{root}/constants.pkl");
    if archive.names().any(|name| name == constants) {
        return Err(Error::unsupported(
            "torchscript",
            "this is a TorchScript program, not a checkpoint",
        )
        .hint(
            "export it in PyTorch with torch.onnx.export, or save its state_dict() as safetensors",
        ));
    }
    Ok(root.to_owned())
}

fn content(object: &Pickle<'_>, mut storages: Storages<'_>, limits: &Limits) -> Result<Content> {
    let found = state_dict::find(object, limits)?;
    let mut tensors = BTreeMap::new();
    for (name, id) in found.tensors {
        let tensor = view::parse(object, id, limits)
            .and_then(|view| view.read(&mut storages))
            .map_err(|error| error.at(format!("tensor {}", quoted(&name))))?;
        tensors.insert(name, tensor);
    }
    Ok((tensors, found.config))
}
