//! Walks the wire format of a model before anything is decoded.
//!
//! The decoder allocates as it goes: two bytes of file become an empty tensor of 288 bytes, and
//! nested messages become stack frames. This walk allocates nothing but one small frame per level of
//! nesting, never looks into payloads, and refuses what exceeds [`Limits`] or breaks the encoding.

use amphora_error::{Error, Result};

use crate::Limits;
use crate::schema::{self, Field, Message, Occurs, Value};

/// What a model file contains, counted on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// All messages, the model itself included, and all fields that `onnx.proto3` does not define.
    pub messages: u64,
    /// `NodeProto` messages, wherever they are.
    pub nodes: u64,
    /// `TensorProto` messages, wherever they are.
    pub tensors: u64,
    /// Levels of messages inside one another.
    pub nesting: usize,
    /// Estimate of the memory that decoding takes, in bytes, payloads excluded.
    pub decoded_bytes: u64,
}

/// Bookkeeping of the allocator and of the vector around one string, in bytes.
const STRING_OVERHEAD: u64 = 40;
/// Size of one `Bytes` in a vector.
const BYTES_OVERHEAD: u64 = size_of::<bytes::Bytes>() as u64;
/// Bit under which all members of a oneof are remembered; no field of ONNX has this number.
const ONEOF_BIT: u32 = 63;

struct Frame {
    message: &'static Message,
    end: usize,
    /// One bit per field number that has occurred.
    seen: u64,
    rank: usize,
}

/// Counts what `bytes`, an encoded `ModelProto`, contains, and refuses what breaks the encoding or
/// exceeds `limits`.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Limit`] when a limit is exceeded,
/// [`amphora_error::ErrorKind::Malformed`] when the bytes are not a well-formed model: truncated
/// fields, varints of more than ten bytes, wrong wire types, groups, a singular field that occurs
/// twice, text that is not UTF-8, a name longer than a name can be.
pub fn prescan(bytes: &[u8], limits: &Limits) -> Result<Census> {
    let mut scan = Scan {
        bytes,
        limits,
        at: 0,
        census: Census::default(),
        stack: Vec::new(),
    };
    scan.enter(&schema::MODEL, bytes.len())?;
    while let Some(frame) = scan.stack.last() {
        if scan.at == frame.end {
            scan.stack.pop();
        } else {
            scan.step()?;
        }
    }
    Ok(scan.census)
}

struct Scan<'a> {
    bytes: &'a [u8],
    limits: &'a Limits,
    at: usize,
    census: Census,
    stack: Vec<Frame>,
}

impl Scan<'_> {
    fn enter(&mut self, message: &'static Message, end: usize) -> Result<()> {
        let limits = self.limits;
        self.count()?;
        match message.name {
            "NodeProto" => self.census.nodes += 1,
            "TensorProto" => self.census.tensors += 1,
            _ => {}
        }
        if self.census.nodes > limits.nodes {
            return Err(exceeded(
                "nodes",
                "the model has too many nodes",
                limits.nodes,
            ));
        }
        if self.stack.len() >= limits.nesting {
            let limit = limits.nesting as u64;
            return Err(exceeded(
                "nesting",
                "too many messages lie inside one another",
                limit,
            ));
        }
        self.spend(message.heap as u64)?;
        self.stack.push(Frame {
            message,
            end,
            seen: 0,
            rank: 0,
        });
        self.census.nesting = self.census.nesting.max(self.stack.len());
        Ok(())
    }

    /// Counts one message or unknown field.
    fn count(&mut self) -> Result<()> {
        self.census.messages += 1;
        if self.census.messages > self.limits.messages {
            let limit = self.limits.messages;
            return Err(exceeded(
                "messages",
                "the model has too many messages",
                limit,
            ));
        }
        Ok(())
    }

    /// Accounts for memory that decoding will take.
    fn spend(&mut self, bytes: u64) -> Result<()> {
        self.census.decoded_bytes = self.census.decoded_bytes.saturating_add(bytes);
        let allowed = (self.bytes.len() as u64).saturating_add(self.limits.decoded_bytes);
        if self.census.decoded_bytes > allowed {
            return Err(exceeded(
                "decoded-bytes",
                "decoding the model would take too many bytes of memory",
                allowed,
            )
            .hint("the file unfolds into far more memory than its size: do not trust it"));
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        let start = self.at;
        let key = self.varint()?;
        let wire = key & 7;
        let number = u32::try_from(key >> 3)
            .ok()
            .filter(|number| (1..1 << 29).contains(number))
            .ok_or_else(|| self.broken("field-number", "a field number is out of range", start))?;
        let Some(frame) = self.stack.last_mut() else {
            return Ok(());
        };
        let message = frame.message;
        let Some(field) = message.fields.iter().find(|field| field.number == number) else {
            self.count()?;
            return self.skip(wire, start);
        };
        let bit = match field.occurs {
            Occurs::Many => None,
            Occurs::Once => Some(1_u64 << number),
            Occurs::OneOf => Some(1 << ONEOF_BIT),
        };
        if let Some(bit) = bit {
            if frame.seen & bit != 0 {
                return Err(self.misplaced("repeated-field", "occurs twice", field, start));
            }
            frame.seen |= bit;
        }
        match (field.value, wire) {
            (Value::Varint(size), 0) => {
                self.varint()?;
                self.numbers(field, size, 1)
            }
            (Value::Varint(size), 2) if field.occurs == Occurs::Many => {
                let end = self.delimited()?;
                let packed = &self.bytes[self.at..end];
                let count = packed.iter().filter(|byte| **byte < 0x80).count();
                if packed.last().is_some_and(|byte| *byte >= 0x80) {
                    return Err(self.misplaced(
                        "packed-field",
                        "ends inside a number",
                        field,
                        start,
                    ));
                }
                self.at = end;
                self.numbers(field, size, count)
            }
            (Value::Fixed32, 5) => self.fixed(4),
            (Value::Fixed64, 1) => self.fixed(8),
            (Value::Fixed32 | Value::Fixed64, 2) if field.occurs == Occurs::Many => {
                let size = if matches!(field.value, Value::Fixed32) {
                    4
                } else {
                    8
                };
                let end = self.delimited()?;
                let length = end - self.at;
                if !length.is_multiple_of(size) {
                    return Err(self.misplaced(
                        "packed-field",
                        "ends inside a number",
                        field,
                        start,
                    ));
                }
                self.at = end;
                self.spend(length as u64)
            }
            (Value::Name | Value::Text, 2) => self.text(field, start),
            (Value::Bytes, 2) => {
                self.at = self.delimited()?;
                self.spend(BYTES_OVERHEAD)
            }
            (Value::Message(inner), 2) => {
                let end = self.delimited()?;
                if message.rank_field == Some(number) {
                    self.dimensions(1)?;
                }
                self.enter(inner, end)
            }
            _ => Err(self.misplaced("wire-type", "has the wrong wire type", field, start)),
        }
    }

    fn text(&mut self, field: &'static Field, start: usize) -> Result<()> {
        let end = self.delimited()?;
        let text = &self.bytes[self.at..end];
        if matches!(field.value, Value::Name) && text.len() > self.limits.name_bytes {
            return Err(self
                .misplaced("name-length", "is too long for a name", field, start)
                .expected(format!("at most {} bytes", self.limits.name_bytes))
                .found(format!("{} bytes", text.len())));
        }
        if std::str::from_utf8(text).is_err() {
            return Err(self.misplaced("utf-8", "is not UTF-8", field, start));
        }
        self.at = end;
        self.spend(STRING_OVERHEAD + text.len() as u64)
    }

    fn numbers(&mut self, field: &'static Field, size: usize, count: usize) -> Result<()> {
        let in_shape = self
            .stack
            .last()
            .is_some_and(|frame| frame.message.rank_field == Some(field.number));
        if in_shape {
            self.dimensions(count)?;
        }
        match field.occurs {
            Occurs::Many => self.spend((count as u64).saturating_mul(size as u64)),
            Occurs::Once | Occurs::OneOf => Ok(()),
        }
    }

    fn dimensions(&mut self, count: usize) -> Result<()> {
        let limit = self.limits.rank;
        if let Some(frame) = self.stack.last_mut() {
            frame.rank = frame.rank.saturating_add(count);
            if frame.rank > limit {
                return Err(
                    exceeded("rank", "a shape has too many dimensions", limit as u64)
                        .at(format!("byte {}", self.at)),
                );
            }
        }
        Ok(())
    }

    fn fixed(&mut self, size: usize) -> Result<()> {
        self.advance(size)?;
        self.spend(size as u64)
    }

    fn skip(&mut self, wire: u64, start: usize) -> Result<()> {
        match wire {
            0 => self.varint().map(drop),
            1 => self.advance(8),
            2 => self.delimited().map(|end| self.at = end),
            5 => self.advance(4),
            3 | 4 => Err(self.broken("group", "a group, which ONNX never uses", start)),
            _ => Err(self.broken("wire-type", "an undefined wire type", start)),
        }
    }

    fn advance(&mut self, size: usize) -> Result<()> {
        let end = self.stack.last().map_or(0, |frame| frame.end);
        if end - self.at < size {
            return Err(self.broken("truncated", "a field continues beyond its message", self.at));
        }
        self.at += size;
        Ok(())
    }

    /// Reads a length and returns where the field ends.
    fn delimited(&mut self) -> Result<usize> {
        let start = self.at;
        let length = self.varint()?;
        let end = self.stack.last().map_or(0, |frame| frame.end);
        let left = end - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= left => Ok(self.at + length),
            _ => Err(self
                .broken("truncated", "a field continues beyond its message", start)
                .expected(format!("at most {left} bytes"))
                .found(format!("{length} bytes"))
                .hint("the file is cut off or damaged: fetch it again")),
        }
    }

    fn varint(&mut self) -> Result<u64> {
        let start = self.at;
        let end = self.stack.last().map_or(0, |frame| frame.end);
        let mut value = 0_u64;
        for (index, byte) in self.bytes[start..end].iter().take(10).enumerate() {
            // The tenth byte holds the last of 64 bits.
            if index == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.at = start + index + 1;
                return Ok(value);
            }
        }
        if end - start >= 10 {
            return Err(self.broken("varint", "a number has more than 64 bits", start));
        }
        Err(self
            .broken("truncated", "a number continues beyond its message", start)
            .hint("the file is cut off or damaged: fetch it again"))
    }

    fn misplaced(
        &self,
        rule: &'static str,
        fault: &str,
        field: &'static Field,
        at: usize,
    ) -> Error {
        let name = field.name.trim_start_matches("r#");
        self.broken(rule, &format!("the field '{name}' {fault}"), at)
    }

    fn broken(&self, rule: &'static str, fault: &str, at: usize) -> Error {
        let message = self.stack.last().map_or("ModelProto", |f| f.message.name);
        Error::malformed(rule, format!("not a valid ONNX model: {fault}"))
            .at(format!("{message} at byte {at}"))
    }
}

fn exceeded(rule: &'static str, message: &str, limit: u64) -> Error {
    Error::limit(rule, message).expected(format!("at most {limit}"))
}
