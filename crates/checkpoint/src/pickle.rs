//! Python pickles, decoded as data: nothing is imported, built or called.
//!
//! [`Pickle::decode`] runs the few instructions that PyTorch's files consist of on a stack of
//! indices into one arena. Containers hold indices too, so that shared values stay shared, a cycle
//! is harmless, and neither decoding nor dropping recurses however deep a file nests. Instructions
//! outside the set and names outside [`names`] are refused by name.
//!
//! Instruction codes and their meaning: CPython's `Lib/pickletools.py`.

mod decode;
mod input;
mod json;
mod names;
mod objects;
mod opcodes;

pub(crate) use names::{Element, Name};

/// The index of a value in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(u32);

/// One decoded value; text borrows from the pickle.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(&'a str),
    /// A byte string; nothing that is read from a checkpoint needs its content.
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// A dictionary in the order of its insertions, keys not compared.
    Map {
        entries: Vec<(Id, Id)>,
        /// Whether it is an `OrderedDict`, to which attributes may be attached.
        ordered: bool,
    },
    Name(Name),
    /// What `REDUCE` asked for: a name and its tuple of arguments.
    Call(Name, Id),
    /// A reference to something stored outside the pickle.
    Persistent(Id),
}

/// A decoded pickle: its values, and the one that it stands for.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// The value that the pickle stands for.
    pub(crate) fn root(&self) -> Id {
        self.root
    }

    /// The value at `id`, which must come from this pickle.
    pub(crate) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// Every reference to something outside the pickle, in the order of their occurrence.
    pub(crate) fn persistent(&self) -> impl Iterator<Item = Id> {
        self.values.iter().filter_map(|value| match value {
            Value::Persistent(id) => Some(*id),
            _ => None,
        })
    }

    /// The entries of a dictionary.
    pub(crate) fn map(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Map { entries, .. } => Some(entries),
            _ => None,
        }
    }

    /// The items of a tuple or a list.
    pub(crate) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A non-negative integer of at most 64 bits.
    pub(crate) fn unsigned(&self, id: Id) -> Option<u64> {
        match self.get(id) {
            Value::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The value under a text key; the last one where the key occurs twice, as in Python.
    pub(crate) fn lookup(&self, map: Id, key: &str) -> Option<Id> {
        let mut entries = self.map(map)?.iter().rev();
        entries
            .find(|(candidate, _)| self.text(*candidate) == Some(key))
            .map(|(_, value)| *value)
    }
}
