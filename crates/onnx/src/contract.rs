//! What goes into a graph and what comes out.

use crate::Dtype;

/// One dimension of a shape.
///
/// Serialized as an integer (fixed), a string (symbolic: the same name is the same size
/// everywhere in one call) or -1 (unknown and independent).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A fixed size.
    Fixed(u64),
    /// A named size, bound by the first input that carries it.
    Symbol(String),
    /// Any size.
    Unknown,
}

/// Name, dtype and shape of one input or output.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// The name in the graph.
    pub name: String,
    /// The element type.
    pub dtype: Dtype,
    /// The dimensions, outermost first; absent when even the rank is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<Dim>>,
}

/// The I/O contract of one graph, read from the graph itself.
///
/// Inputs are what a caller must supply: graph inputs that are also initializers are not listed.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// The inputs, in graph order.
    pub inputs: Vec<TensorSpec>,
    /// The outputs, in graph order.
    pub outputs: Vec<TensorSpec>,
    /// Version of the default operator set (`ai.onnx`); 0 if the graph uses other sets only.
    pub opset: u64,
    /// Other operator sets by domain, sorted.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub other_opsets: std::collections::BTreeMap<String, u64>,
    /// Version of the ONNX intermediate representation.
    pub ir_version: u64,
    /// How often each operator occurs (sub-graphs and functions included), keyed `Op` or `domain.Op`.
    pub operators: std::collections::BTreeMap<String, u64>,
    /// Elements in all floating-point initializers (for a sparse one, its stored values).
    pub parameters: u64,
}

impl serde::Serialize for Dim {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(size) => serializer.serialize_u64(*size),
            Self::Symbol(name) => serializer.serialize_str(name),
            Self::Unknown => serializer.serialize_i64(-1),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Dim {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Dim;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a size, a symbol, or -1")
            }
            fn visit_u64<E: serde::de::Error>(self, size: u64) -> Result<Dim, E> {
                Ok(Dim::Fixed(size))
            }
            fn visit_i64<E: serde::de::Error>(self, size: i64) -> Result<Dim, E> {
                match size {
                    -1 => Ok(Dim::Unknown),
                    _ => u64::try_from(size)
                        .map(Dim::Fixed)
                        .map_err(|_| E::custom("a dimension is negative")),
                }
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Dim, E> {
                if name.is_empty() {
                    return Err(E::custom("a symbolic dimension has no name"));
                }
                Ok(Dim::Symbol(name.to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl schemars::JsonSchema for Dim {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Dim".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "a size, the name of a symbolic dimension, or -1 for any size",
            "oneOf": [{"type": "integer", "minimum": -1}, {"type": "string", "minLength": 1}]
        })
    }
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Symbol(name) => f.write_str(&amphora_error::printable(name)),
            Self::Unknown => f.write_str("?"),
        }
    }
}
