//! Which weights differ, tensor by tensor.

use std::collections::BTreeMap;

use amphora_error::Result;
use amphora_files::{Digest, Hasher};
use amphora_onnx::visit::{self, Role};
use amphora_onnx::{Limits, Model};
use serde::Serialize;

use crate::Bundle;

/// The weights of one graph that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WeightChanges {
    /// In both, with another element type, shape or content.
    pub changed: Vec<String>,
    /// Only in the second bundle.
    pub added: Vec<String>,
    /// Only in the first bundle.
    pub removed: Vec<String>,
    /// How many are the same.
    pub unchanged: usize,
}

impl WeightChanges {
    /// Whether every weight is the same.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.added.is_empty() && self.removed.is_empty()
    }
}

pub(super) fn changes(
    bundle1: &Bundle,
    bundle2: &Bundle,
) -> Result<BTreeMap<String, WeightChanges>> {
    let graphs = |bundle: &Bundle| bundle.manifest().spec.graphs.keys().cloned().collect();
    let mut names: Vec<String> = graphs(bundle1);
    names.extend(graphs(bundle2));
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let (first, second) = (digests(bundle1, &name)?, digests(bundle2, &name)?);
            Ok((name, difference(first, &second)))
        })
        .collect()
}

fn difference(
    mut first: BTreeMap<String, Digest>,
    second: &BTreeMap<String, Digest>,
) -> WeightChanges {
    let mut changes = WeightChanges::default();
    for (tensor, digest) in second {
        match first.remove(tensor) {
            None => changes.added.push(tensor.clone()),
            Some(same) if same == *digest => changes.unchanged += 1,
            Some(_) => changes.changed.push(tensor.clone()),
        }
    }
    changes.removed.extend(first.into_keys());
    changes
}

/// A digest over element type, shape and bytes of every initializer of a graph, wherever it lies;
/// nothing when the bundle has no such graph.
fn digests(bundle: &Bundle, graph: &str) -> Result<BTreeMap<String, Digest>> {
    let mut digests = BTreeMap::new();
    if !bundle.manifest().spec.graphs.contains_key(graph) {
        return Ok(digests);
    }
    let (bytes, data) = bundle.graph_bytes(graph)?;
    let model = Model::from_parts(bytes, data, &Limits::default())?;
    visit::tensors(model.proto(), &mut |place, role, tensor| {
        if role == Role::Attribute {
            return Ok(());
        }
        let mut hasher = Hasher::default();
        hasher.update(&tensor.data_type.unwrap_or(0).to_le_bytes());
        hasher.update(&(tensor.dims.len() as u64).to_le_bytes());
        for dim in &tensor.dims {
            hasher.update(&dim.to_le_bytes());
        }
        hasher.update(&model.tensor_bytes(tensor)?);
        let name = tensor.name.as_deref().unwrap_or("");
        let key = match digests.contains_key(name) || name.is_empty() {
            true => place.of_tensor(name),
            false => name.to_owned(),
        };
        digests.insert(key, hasher.finish());
        Ok(())
    })?;
    Ok(digests)
}
