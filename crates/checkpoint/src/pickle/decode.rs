//! The machine: a stack, marks, a memo, and one loop over the instructions.

use std::collections::HashMap;

use amphora_error::{Error, Result};

use super::input::Input;
use super::{Id, Pickle, Value, opcodes as op};
use crate::Limits;

/// Longest integer, in bytes; the magic number of the legacy format takes ten.
const INTEGER_BYTES: usize = 16;

impl<'a> Pickle<'a> {
    /// Decodes the pickle at the start of `input`, called `what` in messages, and returns it with its length in bytes.
    pub(crate) fn decode(
        input: &'a [u8],
        what: &'static str,
        limits: &Limits,
    ) -> Result<(Self, usize)> {
        let mut machine = Machine {
            input: Input::new(input, what),
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            budget: limits.pickle_values.min(u32::MAX as usize),
        };
        let root = machine.run()?;
        let pickle = Self {
            values: machine.values,
            root,
        };
        Ok((pickle, machine.input.position()))
    }
}

pub(super) struct Machine<'a> {
    pub(super) input: Input<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at which the open marks were set.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// How many more times something may be pushed or memorized.
    budget: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id> {
        if !matches!(self.input.array()?, [op::PROTO, 2..=5]) {
            return Err(self
                .input
                .malformed("pickle-protocol", "this is not a pickle of protocol 2 to 5"));
        }
        loop {
            let code = self.input.instruction()?;
            if code == op::STOP {
                break;
            }
            self.step(code)?;
        }
        match (self.stack.as_slice(), self.marks.as_slice()) {
            ([root], []) => Ok(*root),
            _ => Err(self.input.malformed(
                "pickle-stack",
                "the pickle does not end with exactly one value",
            )),
        }
    }

    fn step(&mut self, code: u8) -> Result<()> {
        match code {
            op::FRAME => {
                let length = u64::from_le_bytes(self.input.array()?);
                self.input.expect(length)
            }
            op::MARK => {
                self.spend(1)?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::NONE => self.push(Value::None),
            op::NEWTRUE => self.push(Value::Bool(true)),
            op::NEWFALSE => self.push(Value::Bool(false)),
            op::BININT => self.integer(4, true),
            op::BININT1 => self.integer(1, false),
            op::BININT2 => self.integer(2, false),
            op::LONG1 => {
                let [length] = self.input.array()?;
                self.integer(usize::from(length), true)
            }
            op::BINFLOAT => {
                let value = f64::from_be_bytes(self.input.array()?);
                self.push(Value::Float(value))
            }
            op::SHORT_BINUNICODE | op::SHORT_BINSTRING => self.text(1),
            op::BINUNICODE | op::BINSTRING => self.text(4),
            op::BINUNICODE8 => self.text(8),
            op::SHORT_BINBYTES => self.byte_string(1),
            op::BINBYTES => self.byte_string(4),
            op::BINBYTES8 => self.byte_string(8),
            op::EMPTY_TUPLE => self.push(Value::Tuple(Vec::new())),
            op::TUPLE1 => self.tuple(1),
            op::TUPLE2 => self.tuple(2),
            op::TUPLE3 => self.tuple(3),
            op::TUPLE => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items))
            }
            op::EMPTY_LIST => self.push(Value::List(Vec::new())),
            op::APPEND => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            op::APPENDS => {
                let items = self.since_mark()?;
                self.append(items)
            }
            op::EMPTY_DICT => self.push(Value::Map {
                entries: Vec::new(),
                ordered: false,
            }),
            op::SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(&[key, value])
            }
            op::SETITEMS => {
                let items = self.since_mark()?;
                self.insert(&items)
            }
            op::BINGET => {
                let [index] = self.input.array()?;
                self.recall(u32::from(index))
            }
            op::LONG_BINGET => {
                let index = u32::from_le_bytes(self.input.array()?);
                self.recall(index)
            }
            op::BINPUT => {
                let [index] = self.input.array()?;
                self.memorize(u32::from(index))
            }
            op::LONG_BINPUT => {
                let index = u32::from_le_bytes(self.input.array()?);
                self.memorize(index)
            }
            // The memo cannot outgrow the budget, which is far below 2^32.
            op::MEMOIZE => self.memorize(self.memo.len() as u32),
            op::GLOBAL => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.name(module, name)
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.value(module), self.value(name)) {
                    (&Value::Text(module), &Value::Text(name)) => self.name(module, name),
                    _ => Err(self.input.malformed("pickle-stack", "a name is not text")),
                }
            }
            op::REDUCE => self.reduce(),
            op::BUILD => self.build(),
            op::BINPERSID => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))
            }
            op::INST => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                Err(self.refuse_name(module, name))
            }
            _ => Err(self.refuse_instruction(code)),
        }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        let list = self.top()?;
        match &mut self.values[list.0 as usize] {
            Value::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => Err(self
                .input
                .malformed("pickle-stack", "something other than a list is appended to")),
        }
    }

    fn insert(&mut self, items: &[Id]) -> Result<()> {
        let map = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match &mut self.values[map.0 as usize] {
            Value::Map { entries, .. } if rest.is_empty() => {
                entries.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => Err(self
                .input
                .malformed("pickle-stack", "a dictionary is not filled with pairs")),
        }
    }

    fn tuple(&mut self, length: usize) -> Result<()> {
        let height = self.floor() + length;
        if self.stack.len() < height {
            return Err(self.underflow());
        }
        let items = self.stack.split_off(self.stack.len() - length);
        self.push(Value::Tuple(items))
    }

    fn integer(&mut self, length: usize, signed: bool) -> Result<()> {
        if length > INTEGER_BYTES {
            return Err(Error::limit("pickle-integer", "an integer is too long")
                .expected(format!("at most {INTEGER_BYTES} bytes"))
                .found(format!("{length} bytes"))
                .at(self.input.place()));
        }
        let bytes = self.input.take(length)?;
        let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut extended = [if negative { 0xff } else { 0 }; INTEGER_BYTES];
        extended[..length].copy_from_slice(bytes);
        self.push(Value::Int(i128::from_le_bytes(extended)))
    }

    fn text(&mut self, length_bytes: usize) -> Result<()> {
        let bytes = self.input.prefixed(length_bytes)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Value::Text(text)),
            Err(_) => Err(self.input.malformed("pickle-text", "text is not UTF-8")),
        }
    }

    fn byte_string(&mut self, length_bytes: usize) -> Result<()> {
        self.input.prefixed(length_bytes)?;
        self.push(Value::Bytes)
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        match self.memo.get(&index) {
            Some(&id) => self.push_id(id),
            None => Err(self
                .input
                .malformed("pickle-memo", format!("memo entry {index} was never made"))),
        }
    }

    fn memorize(&mut self, index: u32) -> Result<()> {
        let id = self.top()?;
        self.spend(1)?;
        self.memo.insert(index, id);
        Ok(())
    }

    pub(super) fn push(&mut self, value: Value<'a>) -> Result<()> {
        // Every value costs budget, so that their number stays below 2^32.
        let id = Id(self.values.len() as u32);
        self.values.push(value);
        self.push_id(id)
    }

    pub(super) fn push_id(&mut self, id: Id) -> Result<()> {
        self.spend(1)?;
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn spend(&mut self, values: usize) -> Result<()> {
        match self.budget.checked_sub(values) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(
                Error::limit("pickle-values", "the pickle holds too many values")
                    .at(self.input.place()),
            ),
        }
    }

    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// The height of the stack below which the current instruction must not reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Result<Id> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    pub(super) fn top(&self) -> Result<Id> {
        match self.stack.last() {
            Some(id) if self.stack.len() > self.floor() => Ok(*id),
            _ => Err(self.underflow()),
        }
    }

    fn since_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => Err(self.underflow()),
        }
    }

    fn underflow(&self) -> Error {
        self.input.malformed(
            "pickle-stack",
            "an instruction takes more values than there are",
        )
    }
}
