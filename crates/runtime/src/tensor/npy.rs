//! The `.npy` format of NumPy (its enhancement proposal 1, versions 1.0, 2.0 and 3.0).
//!
//! Read strictly: the header is a fixed dictionary of three keys, the payload is exactly as long as
//! shape and type demand, and pickled objects are refused. Big-endian numbers and column-major order
//! are converted.

use std::path::Path;

use amphora_error::{Error, Result, quoted};
use amphora_files::OpenedFile;
use amphora_onnx::Dtype;

use super::{Data, Tensor, element_count};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Largest header accepted, in bytes; NumPy itself refuses more than 10,000 unless told to trust.
const MAX_HEADER: usize = 10_000;
/// Most dimensions accepted; NumPy has 64.
const MAX_RANK: usize = 64;
/// Alignment of the payload that NumPy writes, in bytes.
const ALIGNMENT: usize = 64;

impl Tensor {
    /// Reads a `.npy` file that a person named, of at most `limit` bytes.
    pub fn read_npy(path: impl AsRef<Path>, limit: u64) -> Result<Self> {
        let path = path.as_ref();
        let bytes = OpenedFile::open(path)?.contents(limit)?;
        Self::from_npy(&bytes).map_err(|error| error.in_file(path))
    }

    /// A tensor from the content of a `.npy` file.
    pub fn from_npy(bytes: &[u8]) -> Result<Self> {
        let (header, payload) = split(bytes)?;
        let header = Header::parse(header)?;
        let count = element_count(&header.shape)?;
        let expected = header
            .kind
            .size()
            .checked_mul(count)
            .ok_or_else(|| Error::limit("npy-size", "the array is larger than memory"))?;
        if expected != payload.len() {
            return Err(
                Error::malformed("npy-size", "the payload does not fit the shape")
                    .expected(format!("{expected} bytes"))
                    .found(format!("{} bytes", payload.len())),
            );
        }
        let mut owned;
        let mut payload = payload;
        if header.column_major && header.shape.len() > 1 {
            owned = row_major(payload, &header.shape, header.kind.size());
            payload = &owned;
        }
        if header.big_endian && header.kind.word() > 1 {
            owned = swapped(payload, header.kind.word());
            payload = &owned;
        }
        match header.kind {
            Kind::Plain(dtype) => Self::from_le_bytes(dtype, header.shape, payload),
            Kind::Bytes(width) => strings(header.shape, payload, width, byte_string),
            Kind::Unicode(width) => strings(
                header.shape,
                payload,
                width.saturating_mul(4),
                unicode_string,
            ),
        }
    }

    /// The content of a `.npy` file (version 1.0, little-endian, row-major). Element types that
    /// NumPy does not have are refused.
    pub fn to_npy(&self) -> Result<Vec<u8>> {
        let (descr, payload) = match &self.data {
            Data::String(elements) => unicode_payload(elements)?,
            _ => (npy_descr(self.dtype)?.to_owned(), self.to_le_bytes()?),
        };
        let dims: String = self.shape.iter().map(|dim| format!("{dim}, ")).collect();
        // NumPy writes `(3,)` for one dimension and `(2, 3)` for more.
        let dims = match self.shape.len() {
            1 => dims.trim_end().to_owned(),
            _ => dims.trim_end_matches(", ").to_owned(),
        };
        let mut header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
        let unpadded = MAGIC.len() + 4 + header.len() + 1;
        let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
        header.extend(std::iter::repeat_n(' ', padding));
        header.push('\n');
        let length = u16::try_from(header.len())
            .map_err(|_| Error::limit("npy-header", "the shape has too many dimensions"))?;
        let mut bytes = Vec::with_capacity(MAGIC.len() + 4 + header.len() + payload.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[1, 0]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&payload);
        Ok(bytes)
    }
}

fn split(bytes: &[u8]) -> Result<(&str, &[u8])> {
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
struct Header {
    kind: Kind,
    big_endian: bool,
    column_major: bool,
    shape: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain(Dtype),
    /// Byte strings of this many bytes, padded with NUL.
    Bytes(usize),
    /// Strings of this many UTF-32 code points, padded with NUL.
    Unicode(usize),
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::Plain(dtype) => (dtype.bits() / 8) as usize,
            Self::Bytes(width) => width,
            Self::Unicode(width) => width.saturating_mul(4),
        }
    }

    /// The unit whose bytes are swapped between byte orders.
    fn word(self) -> usize {
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
    fn parse(text: &str) -> Result<Self> {
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

fn npy_descr(dtype: Dtype) -> Result<&'static str> {
    Ok(match dtype {
        Dtype::Bool => "|b1",
        Dtype::Int8 => "|i1",
        Dtype::Uint8 => "|u1",
        Dtype::Int16 => "<i2",
        Dtype::Int32 => "<i4",
        Dtype::Int64 => "<i8",
        Dtype::Uint16 => "<u2",
        Dtype::Uint32 => "<u4",
        Dtype::Uint64 => "<u8",
        Dtype::Float16 => "<f2",
        Dtype::Float32 => "<f4",
        Dtype::Float64 => "<f8",
        Dtype::Complex64 => "<c8",
        Dtype::Complex128 => "<c16",
        other => {
            return Err(Error::unsupported(
                "npy-dtype",
                format!("NumPy has no type for {other}"),
            ));
        }
    })
}

/// Reorders column-major elements of `size` bytes; the product of `shape` fills `payload` exactly.
fn row_major(payload: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = size;
    for &dim in shape {
        strides.push(stride);
        stride *= dim;
    }
    let mut index = vec![0; shape.len()];
    let mut offset = 0;
    let mut ordered = Vec::with_capacity(payload.len());
    while ordered.len() < payload.len() {
        ordered.extend_from_slice(&payload[offset..offset + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    ordered
}

fn swapped(payload: &[u8], word: usize) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    bytes.chunks_exact_mut(word).for_each(<[u8]>::reverse);
    bytes
}

fn strings(
    shape: Vec<usize>,
    payload: &[u8],
    size: usize,
    decode: impl Fn(&[u8]) -> Option<String>,
) -> Result<Tensor> {
    let count = element_count(&shape)?;
    let elements: Option<Vec<String>> = if size == 0 {
        // Strings of width 0 take no bytes, so the shape alone would decide how much is allocated.
        if count > MAX_HEADER {
            return Err(Error::limit("npy-size", "too many empty strings"));
        }
        Some(vec![String::new(); count])
    } else {
        payload.chunks_exact(size).map(decode).collect()
    };
    let elements =
        elements.ok_or_else(|| Error::malformed("npy-string", "a string is not valid Unicode"))?;
    Tensor::new(shape, elements)
}

fn byte_string(bytes: &[u8]) -> Option<String> {
    let end = bytes
        .iter()
        .rposition(|&b| b != 0)
        .map_or(0, |last| last + 1);
    String::from_utf8(bytes[..end].to_vec()).ok()
}

fn unicode_string(bytes: &[u8]) -> Option<String> {
    let (points, _) = bytes.as_chunks::<4>();
    let points: Vec<u32> = points.iter().map(|c| u32::from_le_bytes(*c)).collect();
    let end = points
        .iter()
        .rposition(|&p| p != 0)
        .map_or(0, |last| last + 1);
    points[..end].iter().map(|&p| char::from_u32(p)).collect()
}

fn unicode_payload(elements: &[String]) -> Result<(String, Vec<u8>)> {
    if elements.iter().any(|element| element.ends_with('\0')) {
        return Err(Error::unsupported(
            "npy-string",
            "NumPy cannot hold a string that ends with NUL",
        ));
    }
    let width = elements
        .iter()
        .map(|element| element.chars().count())
        .max()
        .unwrap_or(0)
        .max(1);
    let mut payload = Vec::new();
    for element in elements {
        let start = payload.len();
        payload.extend(element.chars().flat_map(|c| u32::from(c).to_le_bytes()));
        payload.resize(start + width * 4, 0);
    }
    Ok((format!("<U{width}"), payload))
}
