//! Finding the state dict: the file's object itself, or inside a training checkpoint.

use std::collections::{BTreeMap, HashSet};

use amphora_error::{Error, Result, quoted};
use serde_json::{Map, Value as Json};

use crate::Limits;
use crate::pickle::{Id, Name, Pickle, Value};

/// The keys under which training loops keep the state dict of the model.
const WRAPPERS: [&str; 4] = ["model_state_dict", "state_dict", "model", "module"];
/// How deep such keys nest.
const WRAPPED: usize = 8;

/// The tensors of the state dict, and the configuration found on the way to it.
pub(super) struct Found {
    pub(super) tensors: BTreeMap<String, Id>,
    pub(super) config: Option<Map<String, Json>>,
}

/// Finds the state dict in the object of a file.
///
/// A dictionary with one of [`WRAPPERS`] among its keys stands for what is under that key; so an
/// optimizer's state beside it is left out. In the state dict itself the names of nested
/// dictionaries are joined by dots; what is neither a tensor nor a dictionary, or whose key is not
/// text, is left out.
pub(super) fn find(object: &Pickle<'_>, limits: &Limits) -> Result<Found> {
    let mut at = object.root();
    let mut config = None;
    for _ in 0..WRAPPED {
        if config.is_none() {
            config = object
                .lookup(at, "config")
                .and_then(|id| object.to_json(id));
        }
        match wrapped(object, at)? {
            Some(inner) => at = inner,
            None => break,
        }
    }
    let tensors = flatten(object, at, limits)?;
    if tensors.is_empty() {
        return Err(Error::malformed(
            "state-dict-missing",
            "the file holds no state dict: no dictionary from names to tensors",
        )
        .hint("save model.state_dict(), by itself or under the key 'state_dict'"));
    }
    Ok(Found { tensors, config })
}

/// The dictionary under the one wrapper key of `map` that leads to tensors.
fn wrapped(object: &Pickle<'_>, map: Id) -> Result<Option<Id>> {
    let mut found: Option<(&str, Id)> = None;
    for key in WRAPPERS {
        let Some(inner) = object.lookup(map, key) else {
            continue;
        };
        if !holds_tensor(object, inner, &mut HashSet::new()) {
            continue;
        }
        match found {
            Some((first, other)) if other != inner => {
                return Err(Error::malformed(
                    "state-dict-ambiguous",
                    format!("there are tensors under '{first}' and under '{key}'"),
                )
                .hint("save one state dict only"));
            }
            Some(_) => {}
            None => found = Some((key, inner)),
        }
    }
    Ok(found.map(|(_, inner)| inner))
}

/// Whether there is a tensor in the dictionary at `id` or in one beneath it; dictionaries that have
/// been `seen` are not looked into again.
fn holds_tensor(object: &Pickle<'_>, id: Id, seen: &mut HashSet<Id>) -> bool {
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        for (key, value) in object.map(id).unwrap_or_default() {
            if object.text(*key).is_none() {
                continue;
            }
            if is_tensor(object, *value) {
                return true;
            }
            if object.map(*value).is_some() {
                open.push(*value);
            }
        }
    }
    false
}

fn is_tensor(object: &Pickle<'_>, id: Id) -> bool {
    matches!(
        object.get(id),
        Value::Call(
            Name::Tensor | Name::TensorV2 | Name::TensorV3 | Name::Parameter,
            _
        )
    )
}

fn flatten(object: &Pickle<'_>, root: Id, limits: &Limits) -> Result<BTreeMap<String, Id>> {
    let mut tensors = BTreeMap::new();
    let mut seen = HashSet::from([root]);
    // Dictionaries met twice that hold no tensor; each is looked into once.
    let mut harmless = HashSet::new();
    let mut open = vec![(String::new(), root)];
    while let Some((prefix, map)) = open.pop() {
        for (key, value) in object.map(map).unwrap_or_default() {
            let Some(key) = object.text(*key) else {
                continue;
            };
            let tensor = is_tensor(object, *value);
            if !tensor && object.map(*value).is_none() {
                continue;
            }
            if prefix.len() + key.len() > limits.name_bytes {
                return Err(
                    Error::limit("tensor-name", "the name of a tensor is too long")
                        .expected(format!("at most {} bytes", limits.name_bytes)),
                );
            }
            let name = format!("{prefix}{key}");
            let fault = |rule, message, name: &str| {
                Err(Error::malformed(rule, message).at(format!("entry {}", quoted(name))))
            };
            if tensor {
                limits.check_tensors(tensors.len() + 1)?;
                if tensors.contains_key(&name) {
                    return fault("tensor-duplicate", "two tensors have the same name", &name);
                }
                tensors.insert(name, *value);
            } else if seen.insert(*value) {
                open.push((format!("{name}."), *value));
            } else if holds_tensor(object, *value, &mut harmless) {
                return fault(
                    "state-dict-shared",
                    "the dictionary is also found under another name, or contains itself",
                    &name,
                );
            }
        }
    }
    Ok(tensors)
}
