//! Tensors as JSON.

use amphora_error::{Error, Result, quoted};
use amphora_onnx::Dtype;
use half::{bf16, f16};
use serde_json::{Map, Value};

use super::{Data, Element, Tensor, element_count, packed, show_shape};

/// Deepest nesting of arrays, which is the largest rank.
const MAX_RANK: usize = 64;

impl Tensor {
    /// The tensor as `{"dtype": name, "shape": [...], "data": [...]}`.
    ///
    /// `data` is flat, in row-major order, whatever the rank. Integers are exact. Floats are the
    /// shortest decimal that reads back as the same number of their type; NaN and the infinities,
    /// which JSON cannot hold, are the strings `"NaN"`, `"Infinity"` and `"-Infinity"`. A complex
    /// number is a pair. Elements of 8-bit and 4-bit float types are given as their packed bytes.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("dtype".into(), self.dtype.name().into());
        object.insert("shape".into(), self.shape.clone().into());
        object.insert("data".into(), Value::Array(self.json_elements()));
        Value::Object(object)
    }

    fn json_elements(&self) -> Vec<Value> {
        macro_rules! integers {
            ($elements:expr) => {
                $elements.iter().map(|&e| Value::from(e)).collect()
            };
        }
        macro_rules! narrow {
            ($elements:expr) => {
                $elements
                    .iter()
                    .map(|&e| float(f64::from(e), || e.to_string()))
                    .collect()
            };
        }
        match &self.data {
            Data::F32(elements) => narrow!(elements),
            Data::F64(elements) => narrow!(elements),
            Data::F16(elements) => narrow!(elements),
            Data::Bf16(elements) => narrow!(elements),
            Data::I8(elements) => integers!(elements),
            Data::I16(elements) => integers!(elements),
            Data::I32(elements) => integers!(elements),
            Data::I64(elements) => integers!(elements),
            Data::U8(elements) => integers!(elements),
            Data::U16(elements) => integers!(elements),
            Data::U32(elements) => integers!(elements),
            Data::U64(elements) => integers!(elements),
            Data::Bool(elements) => integers!(elements),
            Data::String(elements) => elements.iter().map(|e| e.as_str().into()).collect(),
            Data::Packed(bytes) => self.json_packed(bytes),
        }
    }

    fn json_packed(&self, bytes: &[u8]) -> Vec<Value> {
        let complex = |parts: Vec<Value>| {
            parts
                .chunks_exact(2)
                .map(|pair| Value::Array(pair.to_vec()))
                .collect()
        };
        match self.dtype {
            Dtype::Complex64 => {
                let (chunks, _) = bytes.as_chunks::<4>();
                let parts = chunks.iter().map(|c| f32::from_le_bytes(*c));
                complex(
                    parts
                        .map(|e| float(f64::from(e), || e.to_string()))
                        .collect(),
                )
            }
            Dtype::Complex128 => {
                let (chunks, _) = bytes.as_chunks::<8>();
                let parts = chunks.iter().map(|c| f64::from_le_bytes(*c));
                complex(parts.map(|e| float(e, || e.to_string())).collect())
            }
            dtype => match packed::unpack_integers(dtype, bytes, self.len()) {
                Some(integers) => integers.into_iter().map(Value::from).collect(),
                None => bytes.iter().map(|&byte| Value::from(byte)).collect(),
            },
        }
    }

    /// A tensor of type `dtype` from JSON: nested arrays whose depth is the rank, a single value for
    /// a scalar, or the object that [`Tensor::to_json`] writes (`dtype`, when given, must agree).
    ///
    /// Ragged arrays are refused. Integers must be written as integers and fit the type; they are
    /// exact over all 64 bits. A number for a float type must not overflow it; the strings `"NaN"`,
    /// `"Infinity"` and `"-Infinity"` are accepted. Booleans are `true` and `false` only.
    pub fn from_json(value: &Value, dtype: Dtype) -> Result<Self> {
        match value {
            Value::Object(object) => from_object(object, dtype),
            nested => {
                let (shape, flat) = flatten(nested)?;
                let data = parse_elements(dtype, &flat)?;
                Ok(Self::from_checked(dtype, shape, data))
            }
        }
    }
}

/// `shown` is the shortest decimal of the element's own type; read as `f64` it prints the same.
fn float(value: f64, shown: impl FnOnce() -> String) -> Value {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    Value::from(shown().parse::<f64>().unwrap_or(value))
}

fn from_object(object: &Map<String, Value>, dtype: Dtype) -> Result<Tensor> {
    if let Some(key) = object
        .keys()
        .find(|key| !matches!(key.as_str(), "dtype" | "shape" | "data"))
    {
        return Err(Error::malformed(
            "tensor-json",
            format!("a tensor has no field {}", quoted(key)),
        )
        .expected("'dtype', 'shape' and 'data'"));
    }
    if let Some(named) = object.get("dtype")
        && named.as_str() != Some(dtype.name())
    {
        return Err(
            Error::malformed("tensor-json", "the tensor has another type")
                .expected(dtype.name())
                .found(named.to_string()),
        );
    }
    let shape = object
        .get("shape")
        .and_then(Value::as_array)
        .and_then(|dims| {
            dims.iter()
                .map(|dim| dim.as_u64().and_then(|dim| usize::try_from(dim).ok()))
                .collect::<Option<Vec<usize>>>()
        })
        .ok_or_else(|| Error::malformed("tensor-json", "'shape' is not a list of sizes"))?;
    let data = object
        .get("data")
        .ok_or_else(|| Error::malformed("tensor-json", "'data' is missing"))?;
    let (found, flat) = flatten(data)?;
    let count = element_count(&shape)?;
    let fits = flat.len() == count && (found == shape || found.len() <= 1);
    if !fits {
        return Err(
            Error::malformed("tensor-size", "'data' does not fill 'shape'")
                .expected(format!("{count} elements of shape {}", show_shape(&shape)))
                .found(format!("shape {}", show_shape(&found))),
        );
    }
    let data = parse_elements(dtype, &flat)?;
    Ok(Tensor::from_checked(dtype, shape, data))
}

/// The shape of nested arrays and their leaves in order.
fn flatten(value: &Value) -> Result<(Vec<usize>, Vec<&Value>)> {
    let mut shape = Vec::new();
    let mut level = vec![value];
    while let Some(Value::Array(first)) = level.first().copied() {
        if shape.len() == MAX_RANK {
            return Err(
                Error::limit("tensor-rank", "the arrays are nested too deeply")
                    .expected(format!("at most {MAX_RANK} dimensions")),
            );
        }
        let size = first.len();
        let mut next = Vec::with_capacity(level.len().saturating_mul(size));
        for (row, item) in level.iter().enumerate() {
            match item {
                Value::Array(items) if items.len() == size => next.extend(items),
                Value::Array(items) => return Err(ragged(&shape, row, size, items.len())),
                _ => return Err(mixed(&shape, row)),
            }
        }
        shape.push(size);
        level = next;
    }
    if let Some(row) = level
        .iter()
        .position(|item| matches!(item, Value::Array(_) | Value::Object(_)))
    {
        return Err(mixed(&shape, row));
    }
    Ok((shape, level))
}

fn ragged(shape: &[usize], row: usize, expected: usize, found: usize) -> Error {
    Error::malformed("tensor-ragged", "the arrays have different lengths")
        .at(format!("array {row} at depth {}", shape.len()))
        .expected(format!("{expected} elements, as in the first one"))
        .found(format!("{found}"))
}

fn mixed(shape: &[usize], row: usize) -> Error {
    Error::malformed("tensor-ragged", "arrays and values are mixed at one depth")
        .at(format!("item {row} at depth {}", shape.len()))
}

fn parse_elements(dtype: Dtype, flat: &[&Value]) -> Result<Data> {
    fn each<T: Element>(
        dtype: Dtype,
        flat: &[&Value],
        parse: impl Fn(&Value) -> Option<T>,
    ) -> Result<Data> {
        let elements: Result<Vec<T>> = flat
            .iter()
            .enumerate()
            .map(|(index, value)| parse(value).ok_or_else(|| not_an(dtype, index, value)))
            .collect();
        elements.map(T::into_data)
    }
    macro_rules! integers {
        ($type:ty) => {
            each::<$type>(dtype, flat, |value| integer(value)?.try_into().ok())
        };
    }
    match dtype {
        Dtype::Float32 => each(dtype, flat, |value| {
            rounded(value, |wide| wide as f32, |e| e.is_finite())
        }),
        Dtype::Float64 => each(dtype, flat, |value| {
            rounded(value, |wide| wide, |e| e.is_finite())
        }),
        Dtype::Float16 => each(dtype, flat, |value| {
            rounded(value, f16::from_f64, |e| e.is_finite())
        }),
        Dtype::Bfloat16 => each(dtype, flat, |value| {
            rounded(value, bf16::from_f64, |e| e.is_finite())
        }),
        Dtype::Int8 => integers!(i8),
        Dtype::Int16 => integers!(i16),
        Dtype::Int32 => integers!(i32),
        Dtype::Int64 => integers!(i64),
        Dtype::Uint8 => integers!(u8),
        Dtype::Uint16 => integers!(u16),
        Dtype::Uint32 => integers!(u32),
        Dtype::Uint64 => integers!(u64),
        Dtype::Bool => each(dtype, flat, Value::as_bool),
        Dtype::String => each(dtype, flat, |value| value.as_str().map(str::to_owned)),
        Dtype::Uint4 | Dtype::Int4 | Dtype::Uint2 | Dtype::Int2 => {
            let narrow = |value: &Value| {
                let value = i64::try_from(integer(value)?).ok()?;
                packed::pack_integers(dtype, &[value]).map(|_| value)
            };
            let values: Result<Vec<i64>> = flat
                .iter()
                .enumerate()
                .map(|(index, value)| narrow(value).ok_or_else(|| not_an(dtype, index, value)))
                .collect();
            packed::pack_integers(dtype, &values?)
                .map(Data::Packed)
                .ok_or_else(|| Error::internal("tensor-json", "a checked value does not fit"))
        }
        other => Err(Error::unsupported(
            "tensor-json",
            format!("a tensor of type {other} cannot be given as JSON"),
        )
        .hint("give it as a safetensors file")),
    }
}

fn integer(value: &Value) -> Option<i128> {
    match value.as_i64() {
        Some(signed) => Some(signed.into()),
        None => value.as_u64().map(i128::from),
    }
}

fn rounded<T: Copy>(
    value: &Value,
    round: impl Fn(f64) -> T,
    is_finite: impl Fn(T) -> bool,
) -> Option<T> {
    if let Some(word) = value.as_str() {
        return match word {
            "NaN" => Some(round(f64::NAN)),
            "Infinity" => Some(round(f64::INFINITY)),
            "-Infinity" => Some(round(f64::NEG_INFINITY)),
            _ => None,
        };
    }
    let element = round(value.as_f64()?);
    is_finite(element).then_some(element)
}

fn not_an(dtype: Dtype, index: usize, value: &Value) -> Error {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::String(_) => "a string".to_owned(),
        other => other.to_string(),
    };
    Error::malformed(
        "tensor-element",
        format!("a value is not a {dtype}, or does not fit it"),
    )
    .at(format!("element {index}"))
    .found(found)
}
