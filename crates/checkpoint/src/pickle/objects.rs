//! Names, calls and attributes: the instructions with which a pickle could run something.

use amphora_error::{Error, Result, quoted};

use super::decode::Machine;
use super::names::{self, Name};
use super::{Id, Value, opcodes as op};

/// What to do with a pickle that needs Python.
const CONVERT: &str =
    "convert it in its own environment: load it there, and save the state dict as safetensors";

impl<'a> Machine<'a> {
    pub(super) fn reduce(&mut self) -> Result<()> {
        let arguments = self.pop()?;
        let callable = self.pop()?;
        let &Value::Name(name) = self.value(callable) else {
            return Err(self.input.malformed(
                "pickle-call",
                "the pickle calls something that is not a name",
            ));
        };
        let Value::Tuple(items) = self.value(arguments) else {
            return Err(self
                .input
                .malformed("pickle-call", "the arguments of a call are not a tuple"));
        };
        match (name, items.as_slice()) {
            (Name::OrderedDict | Name::Counter, &[]) => self.push(Value::Map {
                entries: Vec::new(),
                ordered: name == Name::OrderedDict,
            }),
            (Name::OrderedDict, &[pairs]) => {
                let entries = self.pairs(pairs).ok_or_else(|| {
                    self.input
                        .malformed("pickle-call", "an OrderedDict is not made from pairs")
                })?;
                self.spend(entries.len())?;
                self.push(Value::Map {
                    entries,
                    ordered: true,
                })
            }
            (Name::Counter | Name::Size, &[content]) => self.push_id(content),
            (
                Name::Device | Name::Parameter | Name::Tensor | Name::TensorV2 | Name::TensorV3,
                _,
            ) => self.push(Value::Call(name, arguments)),
            _ => Err(self.input.malformed(
                "pickle-call",
                "the pickle calls a name in a way PyTorch does not",
            )),
        }
    }

    /// The entries of a list of pairs, which is how Python 2 wrote an `OrderedDict`.
    fn pairs(&self, list: Id) -> Option<Vec<(Id, Id)>> {
        let Value::List(items) = self.value(list) else {
            return None;
        };
        let pair = |item: &Id| match self.value(*item) {
            Value::List(pair) | Value::Tuple(pair) => match pair.as_slice() {
                [key, value] => Some((*key, *value)),
                _ => None,
            },
            _ => None,
        };
        items.iter().map(pair).collect()
    }

    /// Attributes attached to an object. The only ones PyTorch writes are the `_metadata` of a
    /// state dict; they are dropped.
    pub(super) fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let object = self.top()?;
        let attaches = match (self.value(object), self.value(state)) {
            (Value::Map { ordered: true, .. }, Value::Map { entries, .. }) => {
                match entries.as_slice() {
                    [] => None,
                    [(key, _), rest @ ..] => match self.value(*key) {
                        Value::Text("_metadata") if rest.is_empty() => None,
                        Value::Text(text) => Some(quoted(text).to_string()),
                        _ => Some("a key that is not text".to_owned()),
                    },
                }
            }
            _ => Some("state to something that is not an OrderedDict".to_owned()),
        };
        match attaches {
            None => Ok(()),
            Some(what) => Err(self
                .input
                .malformed(
                    "pickle-build",
                    format!("this pickle attaches {what}; nothing was executed"),
                )
                .hint(CONVERT)),
        }
    }

    pub(super) fn name(&mut self, module: &str, name: &str) -> Result<()> {
        match names::resolve(module, name) {
            Some(name) => self.push(Value::Name(name)),
            None => Err(self.refuse_name(module, name)),
        }
    }

    pub(super) fn refuse_name(&self, module: &str, name: &str) -> Error {
        let full = format!("{module}.{name}");
        self.input
            .malformed(
                "pickle-name",
                format!(
                    "this pickle asks to build {}; nothing was executed",
                    quoted(&full)
                ),
            )
            .hint(CONVERT)
    }

    pub(super) fn refuse_instruction(&self, code: u8) -> Error {
        let name = op::refused(code).map_or(format!("0x{code:02x}"), str::to_owned);
        self.input.malformed(
            "pickle-opcode",
            format!("this pickle uses the instruction {name}, which no PyTorch checkpoint needs; nothing was executed"),
        )
        .hint(CONVERT)
    }
}
