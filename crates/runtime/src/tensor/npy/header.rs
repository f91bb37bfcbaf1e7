//! The header of a `.npy` file.

use amphora_error::{Error, Result, quoted};
use amphora_onnx::Dtype;

use super::{MAGIC, MAX_HEADER};

/// Most dimensions accepted; NumPy has 64.
const MAX_RANK: usize = 64;

/// The header text and the payload.
pub(super) fn split(bytes: &[u8]) -> Result<(&str, &[u8])> {
    let truncated = || Error::malformed("npy-truncated", "the file ends inside its header");
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(Error::malformed("npy-magic", "this is not a .npy file")
            .hint("write it with numpy.save"));
    };
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
    let (length, rest) = match version {
        [1, 0] => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        [2 | 3, 0] => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(truncated)?;
            let length = u32::from_le_bytes(*length);
            (usize::try_from(length).unwrap_or(usize::MAX), rest)
        }
        [major, minor] => {
            return Err(Error::unsupported(
                "npy-version",
                format!("version {major}.{minor} of the .npy format is unknown"),
            )
            .expected("1.0, 2.0 or 3.0"));
        }
    };
    if length > MAX_HEADER {
        return Err(Error::limit("npy-header", "the header is too long")
            .expected(format!("at most {MAX_HEADER} bytes"))
            .found(format!("{length} bytes")));
    }
    let (header, payload) = rest.split_at_checked(length).ok_or_else(truncated)?;
    let header = std::str::from_utf8(header)
        .map_err(|_| Error::malformed("npy-header", "the header is not text"))?;
    Ok((header, payload))
}

#[derive(Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) big_endian: bool,
    pub(super) column_major: bool,
    pub(super) shape: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Plain(Dtype),
    /// Byte strings of this many bytes, padded with NUL.
    Bytes(usize),
    /// Strings of this many UTF-32 code points, padded with NUL.
    Unicode(usize),
}

impl Kind {
    pub(super) fn size(self) -> usize {
        match self {
            Self::Plain(dtype) => (dtype.bits() / 8) as usize,
            Self::Bytes(width) => width,
            Self::Unicode(width) => width.saturating_mul(4),
        }
    }

    /// The unit whose bytes are swapped between byte orders.
    pub(super) fn word(self) -> usize {
        match self {
            Self::Plain(Dtype::Complex64) => 4,
            Self::Plain(Dtype::Complex128) => 8,
            Self::Plain(_) => self.size(),
            Self::Bytes(_) => 1,
            Self::Unicode(_) => 4,
        }
    }
}

impl Header {
    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`: three keys in any order,
    /// each once.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let refuse = |what: &str| {
            Error::malformed("npy-header", format!("the header is malformed: {what}")).expected(
                "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } with its own values",
            )
        };
        let mut reader = Reader(text);
        let (mut descr, mut order, mut shape) = (None, None, None);
        reader
            .expect('{')
            .ok_or_else(|| refuse("no opening brace"))?;
        while !reader.eat('}') {
            let key = reader.quoted().ok_or_else(|| refuse("a key is expected"))?;
            reader.expect(':').ok_or_else(|| refuse("no colon"))?;
            let twice = match key {
                "descr" => {
                    if reader.eat('[') {
                        return Err(Error::unsupported(
                            "npy-dtype",
                            "structured arrays are not supported",
                        ));
                    }
                    let value = reader.quoted().ok_or_else(|| refuse("'descr'"))?;
                    descr.replace(value).is_some()
                }
                "fortran_order" => {
                    let value = reader.boolean().ok_or_else(|| refuse("'fortran_order'"))?;
                    order.replace(value).is_some()
                }
                "shape" => {
                    let value = reader.tuple().ok_or_else(|| refuse("'shape'"))?;
                    shape.replace(value).is_some()
                }
                other => {
                    return Err(refuse(&format!("the key {} is unknown", quoted(other))));
                }
            };
            if twice {
                return Err(refuse(&format!("the key {} occurs twice", quoted(key))));
            }
            if !reader.eat(',') && !reader.peek('}') {
                return Err(refuse("no comma"));
            }
        }
        if !reader.0.trim().is_empty() {
            return Err(refuse("text after the closing brace"));
        }
        let descr = descr.ok_or_else(|| refuse("'descr' is missing"))?;
        let (big_endian, kind) = parse_descr(descr)?;
        Ok(Self {
            kind,
            big_endian,
            column_major: order.ok_or_else(|| refuse("'fortran_order' is missing"))?,
            shape: shape.ok_or_else(|| refuse("'shape' is missing"))?,
        })
    }
}

/// A cursor over the header; spaces between tokens are skipped.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn peek(&mut self, token: char) -> bool {
        self.0 = self.0.trim_start_matches(' ');
        self.0.starts_with(token)
    }

    fn eat(&mut self, token: char) -> bool {
        let found = self.peek(token);
        if found {
            self.0 = &self.0[token.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, token: char) -> Option<()> {
        self.eat(token).then_some(())
    }

    fn quoted(&mut self) -> Option<&'a str> {
        let quote = if self.eat('\'') {
            '\''
        } else {
            self.expect('"')?;
            '"'
        };
        let (text, rest) = self.0.split_once(quote)?;
        self.0 = rest;
        (!text.contains('\\')).then_some(text)
    }

    fn boolean(&mut self) -> Option<bool> {
        self.0 = self.0.trim_start_matches(' ');
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Some(value);
            }
        }
        None
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        self.expect('(')?;
        let mut dims = Vec::new();
        while !self.eat(')') {
            self.0 = self.0.trim_start_matches(' ');
            let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = self.0.split_at(digits);
            if dims.len() == MAX_RANK {
                return None;
            }
            dims.push(number.parse().ok()?);
            // Python 2 marked long integers.
            self.0 = rest.strip_prefix('L').unwrap_or(rest);
            if !self.eat(',') && !self.peek(')') {
                return None;
            }
        }
        Some(dims)
    }
}

fn parse_descr(descr: &str) -> Result<(bool, Kind)> {
    let unsupported = || {
        Error::unsupported(
            "npy-dtype",
            format!("the type {} is not supported", quoted(descr)),
        )
        .expected("booleans, integers, floats, complex numbers or strings, such as '<f4'")
    };
    let (order, code) = match descr.split_at_checked(1) {
        Some((order @ ("<" | ">" | "|" | "="), code)) => (order, code),
        _ => ("|", descr),
    };
    let kind = match code {
        "b1" => Kind::Plain(Dtype::Bool),
        "i1" => Kind::Plain(Dtype::Int8),
        "i2" => Kind::Plain(Dtype::Int16),
        "i4" => Kind::Plain(Dtype::Int32),
        "i8" => Kind::Plain(Dtype::Int64),
        "u1" => Kind::Plain(Dtype::Uint8),
        "u2" => Kind::Plain(Dtype::Uint16),
        "u4" => Kind::Plain(Dtype::Uint32),
        "u8" => Kind::Plain(Dtype::Uint64),
        "f2" => Kind::Plain(Dtype::Float16),
        "f4" => Kind::Plain(Dtype::Float32),
        "f8" => Kind::Plain(Dtype::Float64),
        "c8" => Kind::Plain(Dtype::Complex64),
        "c16" => Kind::Plain(Dtype::Complex128),
        _ if code.starts_with('O') => {
            return Err(Error::malformed(
                "npy-pickle",
                "the array holds pickled Python objects, which are never executed",
            )
            .found(quoted(descr).to_string())
            .hint("convert the array to a numeric type before saving it"));
        }
        _ => {
            let width = |prefix| -> Option<usize> {
                let digits: &str = code.strip_prefix(prefix)?;
                digits.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
                digits.parse().ok()
            };
            match (width('S'), width('U')) {
                (Some(bytes), _) => Kind::Bytes(bytes),
                (_, Some(points)) => Kind::Unicode(points),
                _ => return Err(unsupported()),
            }
        }
    };
    // A type of several bytes without a byte order would be read by guessing.
    match order {
        "<" => Ok((false, kind)),
        ">" => Ok((true, kind)),
        _ if kind.word() <= 1 => Ok((false, kind)),
        _ => Err(unsupported()),
    }
}
