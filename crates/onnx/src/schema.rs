//! The shape of each message on the wire, as far as the pre-scan needs it.
//!
//! A test compares this table with the declarations in `proto.rs`.

use crate::proto;

/// One message type.
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// Bytes of memory of one decoded message, without what its fields point to.
    pub(crate) heap: usize,
    pub(crate) fields: &'static [Field],
    /// How many of its dimensions a message of this type lists, if it is a shape.
    pub(crate) rank_field: Option<u32>,
}

/// One field of a message.
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) occurs: Occurs,
    pub(crate) value: Value,
}

/// How often a field may occur.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Occurs {
    /// At most once.
    Once,
    /// At most one of all fields marked so.
    OneOf,
    /// Any number of times; numbers may be packed.
    Many,
}

/// What a field holds.
#[derive(Clone, Copy)]
pub(crate) enum Value {
    /// A varint that takes this many bytes in memory.
    Varint(usize),
    /// Four bytes.
    Fixed32,
    /// Eight bytes.
    Fixed64,
    /// UTF-8 whose length is limited.
    Name,
    /// UTF-8 of any length.
    Text,
    /// Bytes, borrowed when decoded.
    Bytes,
    /// Another message.
    Message(&'static Message),
}

use Occurs::{Many, Once, OneOf};
use Value::{Bytes, Fixed32, Fixed64, Message as Msg, Name, Text, Varint};

const fn field(number: u32, name: &'static str, occurs: Occurs, value: Value) -> Field {
    Field {
        number,
        name,
        occurs,
        value,
    }
}

macro_rules! messages {
    ($($constant:ident = $name:ident $(rank $rank:literal)? {
        $($number:literal $field:literal $occurs:ident $value:expr;)*
    })*) => {
        $(pub(crate) static $constant: Message = Message {
            name: stringify!($name),
            heap: size_of::<proto::$name>(),
            fields: &[$(field($number, $field, $occurs, $value)),*],
            rank_field: messages!(@rank $($rank)?),
        };)*
        #[cfg(test)]
        static ALL: &[&Message] = &[$(&$constant),*];
    };
    (@rank $rank:literal) => { Some($rank) };
    (@rank) => { None };
}

messages! {
    MODEL = ModelProto {
        1 "ir_version" Once Varint(8);
        2 "producer_name" Once Name;
        3 "producer_version" Once Name;
        4 "domain" Once Name;
        5 "model_version" Once Varint(8);
        6 "doc_string" Once Text;
        7 "graph" Once Msg(&GRAPH);
        8 "opset_import" Many Msg(&OPERATOR_SET);
        14 "metadata_props" Many Msg(&ENTRY);
        20 "training_info" Many Msg(&TRAINING);
        25 "functions" Many Msg(&FUNCTION);
        26 "configuration" Many Bytes;
    }
    GRAPH = GraphProto {
        1 "node" Many Msg(&NODE);
        2 "name" Once Name;
        5 "initializer" Many Msg(&TENSOR);
        10 "doc_string" Once Text;
        11 "input" Many Msg(&VALUE_INFO);
        12 "output" Many Msg(&VALUE_INFO);
        13 "value_info" Many Msg(&VALUE_INFO);
        14 "quantization_annotation" Many Msg(&ANNOTATION);
        15 "sparse_initializer" Many Msg(&SPARSE_TENSOR);
        16 "metadata_props" Many Msg(&ENTRY);
    }
    NODE = NodeProto {
        1 "input" Many Name;
        2 "output" Many Name;
        3 "name" Once Name;
        4 "op_type" Once Name;
        5 "attribute" Many Msg(&ATTRIBUTE);
        6 "doc_string" Once Text;
        7 "domain" Once Name;
        8 "overload" Once Name;
        9 "metadata_props" Many Msg(&ENTRY);
        10 "device_configurations" Many Bytes;
    }
    ATTRIBUTE = AttributeProto {
        1 "name" Once Name;
        2 "f" Once Fixed32;
        3 "i" Once Varint(8);
        4 "s" Once Bytes;
        5 "t" Once Msg(&TENSOR);
        6 "g" Once Msg(&GRAPH);
        7 "floats" Many Fixed32;
        8 "ints" Many Varint(8);
        9 "strings" Many Bytes;
        10 "tensors" Many Msg(&TENSOR);
        11 "graphs" Many Msg(&GRAPH);
        13 "doc_string" Once Text;
        14 "tp" Once Msg(&TYPE);
        15 "type_protos" Many Msg(&TYPE);
        20 "r#type" Once Varint(4);
        21 "ref_attr_name" Once Name;
        22 "sparse_tensor" Once Msg(&SPARSE_TENSOR);
        23 "sparse_tensors" Many Msg(&SPARSE_TENSOR);
    }
    TENSOR = TensorProto rank 1 {
        1 "dims" Many Varint(8);
        2 "data_type" Once Varint(4);
        3 "segment" Once Msg(&SEGMENT);
        4 "float_data" Many Fixed32;
        5 "int32_data" Many Varint(4);
        6 "string_data" Many Bytes;
        7 "int64_data" Many Varint(8);
        8 "name" Once Name;
        9 "raw_data" Once Bytes;
        10 "double_data" Many Fixed64;
        11 "uint64_data" Many Varint(8);
        12 "doc_string" Once Text;
        13 "external_data" Many Msg(&ENTRY);
        14 "data_location" Once Varint(4);
        16 "metadata_props" Many Msg(&ENTRY);
    }
    SEGMENT = TensorSegment {
        1 "begin" Once Varint(8);
        2 "end" Once Varint(8);
    }
    SPARSE_TENSOR = SparseTensorProto rank 3 {
        1 "values" Once Msg(&TENSOR);
        2 "indices" Once Msg(&TENSOR);
        3 "dims" Many Varint(8);
    }
    VALUE_INFO = ValueInfoProto {
        1 "name" Once Name;
        2 "r#type" Once Msg(&TYPE);
        3 "doc_string" Once Text;
        4 "metadata_props" Many Msg(&ENTRY);
    }
    TYPE = TypeProto {
        1 "Tensor" OneOf Msg(&TENSOR_TYPE);
        4 "Sequence" OneOf Msg(&ELEMENT_TYPE);
        5 "Map" OneOf Msg(&MAP_TYPE);
        7 "Opaque" OneOf Msg(&OPAQUE_TYPE);
        8 "SparseTensor" OneOf Msg(&TENSOR_TYPE);
        9 "Optional" OneOf Msg(&ELEMENT_TYPE);
        6 "denotation" Once Name;
    }
    TENSOR_TYPE = TensorTypeProto {
        1 "elem_type" Once Varint(4);
        2 "shape" Once Msg(&SHAPE);
    }
    ELEMENT_TYPE = ElementTypeProto {
        1 "elem_type" Once Msg(&TYPE);
    }
    MAP_TYPE = MapTypeProto {
        1 "key_type" Once Varint(4);
        2 "value_type" Once Msg(&TYPE);
    }
    OPAQUE_TYPE = OpaqueTypeProto {
        1 "domain" Once Name;
        2 "name" Once Name;
    }
    SHAPE = TensorShapeProto rank 1 {
        1 "dim" Many Msg(&DIMENSION);
    }
    DIMENSION = DimensionProto {
        1 "Value" OneOf Varint(8);
        2 "Param" OneOf Name;
        3 "denotation" Once Name;
    }
    OPERATOR_SET = OperatorSetIdProto {
        1 "domain" Once Name;
        2 "version" Once Varint(8);
    }
    ENTRY = StringStringEntryProto {
        1 "key" Once Name;
        2 "value" Once Text;
    }
    FUNCTION = FunctionProto {
        1 "name" Once Name;
        4 "input" Many Name;
        5 "output" Many Name;
        6 "attribute" Many Name;
        7 "node" Many Msg(&NODE);
        8 "doc_string" Once Text;
        9 "opset_import" Many Msg(&OPERATOR_SET);
        10 "domain" Once Name;
        11 "attribute_proto" Many Msg(&ATTRIBUTE);
        12 "value_info" Many Msg(&VALUE_INFO);
        13 "overload" Once Name;
        14 "metadata_props" Many Msg(&ENTRY);
    }
    TRAINING = TrainingInfoProto {
        1 "initialization" Once Msg(&GRAPH);
        2 "algorithm" Once Msg(&GRAPH);
        3 "initialization_binding" Many Msg(&ENTRY);
        4 "update_binding" Many Msg(&ENTRY);
    }
    ANNOTATION = TensorAnnotation {
        1 "tensor_name" Once Name;
        2 "quant_parameter_tensor_names" Many Msg(&ENTRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(type, field, number, kind, occurs)` of every field declared in `proto.rs`.
    fn declared() -> Vec<(String, String, u32, String, Occurs)> {
        let source = include_str!("proto.rs");
        let mut owner = String::new();
        let mut fields = Vec::new();
        let mut attribute: Option<String> = None;
        for line in source.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("pub struct ") {
                owner = rest.trim_end_matches(" {").to_owned();
            } else if let Some(rest) = line.strip_prefix("pub enum ") {
                // The variants of a oneof are fields of the message that contains it.
                owner = match rest.trim_end_matches(" {") {
                    "TypeValue" => "TypeProto".to_owned(),
                    "DimensionValue" => "DimensionProto".to_owned(),
                    other => other.to_owned(),
                };
            } else if line.starts_with("#[prost(") && line.contains("tag = ") {
                attribute = Some(line.to_owned());
            } else if let Some(text) = attribute.take() {
                let name = line.trim_start_matches("pub ");
                let name = name.split([':', '(']).next().unwrap().to_owned();
                let number = text.split("tag = \"").nth(1).unwrap();
                let number = number.split('"').next().unwrap().parse().unwrap();
                let words = text.trim_start_matches("#[prost(");
                let kind = words.split([',', ' ']).next().unwrap().to_owned();
                let occurs = if text.contains("repeated") {
                    Many
                } else if text.contains("optional") {
                    Once
                } else {
                    OneOf
                };
                fields.push((owner.clone(), name, number, kind, occurs));
            }
        }
        fields
    }

    #[test]
    fn the_table_lists_exactly_the_declared_fields() {
        let mut table: Vec<_> = ALL
            .iter()
            .flat_map(|message| {
                message.fields.iter().map(|field| {
                    let kind = match field.value {
                        Varint(4) => "int32|enumeration",
                        Varint(_) => "int64|uint64",
                        Fixed32 => "float",
                        Fixed64 => "double",
                        Name | Text => "string",
                        Bytes => "bytes",
                        Msg(_) => "message",
                    };
                    let name = field.name.to_owned();
                    (
                        message.name.to_owned(),
                        name,
                        field.number,
                        kind,
                        field.occurs,
                    )
                })
            })
            .collect();
        let mut declared = declared();
        table.sort_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
        declared.sort_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
        assert!(declared.len() > 100);
        assert_eq!(table.len(), declared.len());
        let wrong: Vec<_> = table
            .iter()
            .zip(&declared)
            .filter(|(ours, theirs)| {
                let same_place = (&ours.0, &ours.1, ours.2) == (&theirs.0, &theirs.1, theirs.2);
                let same_kind = ours.3.split('|').any(|kind| kind == theirs.3);
                !(same_place && same_kind && ours.4 == theirs.4)
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
