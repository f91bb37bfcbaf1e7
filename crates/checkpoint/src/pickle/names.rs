//! The names a pickle may use: what PyTorch writes for tensors and the containers around them.

use crate::Dtype;

/// The element type that a storage class or a `torch.dtype` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Known(Dtype),
    /// Bytes whose type the tensor names (`UntypedStorage`).
    Untyped,
    /// A type that exists in PyTorch only: complex, quantized, 8-bit floating point.
    Foreign(&'static str),
}

/// A name of the allow-list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    OrderedDict,
    /// `collections.Counter`, in which learning-rate schedulers keep their milestones.
    Counter,
    Size,
    Device,
    Parameter,
    /// `_rebuild_tensor(storage, offset, size, stride)`.
    Tensor,
    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`.
    TensorV2,
    /// `_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])`.
    TensorV3,
    Storage(Element),
    Dtype(Element),
}

/// The meaning of `module.name`, or `None` where it is outside the allow-list.
pub(crate) fn resolve(module: &str, name: &str) -> Option<Name> {
    let found = match (module, name) {
        ("collections", "OrderedDict") => Name::OrderedDict,
        ("collections", "Counter") => Name::Counter,
        ("torch", "Size") => Name::Size,
        ("torch", "device") => Name::Device,
        ("torch._utils", "_rebuild_parameter") => Name::Parameter,
        ("torch._utils", "_rebuild_tensor") => Name::Tensor,
        ("torch._utils", "_rebuild_tensor_v2") => Name::TensorV2,
        ("torch._utils", "_rebuild_tensor_v3") => Name::TensorV3,
        ("torch" | "torch.storage", "UntypedStorage") => Name::Storage(Element::Untyped),
        ("torch" | "torch.cuda", _) if name.ends_with("Storage") => {
            let known = STORAGES.iter().find(|(class, _)| *class == name)?;
            Name::Storage(known.1)
        }
        ("torch", _) => Name::Dtype(DTYPES.iter().find(|(dtype, _)| *dtype == name)?.1),
        _ => return None,
    };
    Some(found)
}

const STORAGES: [(&str, Element); 17] = [
    ("BoolStorage", Element::Known(Dtype::Bool)),
    ("ByteStorage", Element::Known(Dtype::U8)),
    ("CharStorage", Element::Known(Dtype::I8)),
    ("ShortStorage", Element::Known(Dtype::I16)),
    ("IntStorage", Element::Known(Dtype::I32)),
    ("LongStorage", Element::Known(Dtype::I64)),
    ("HalfStorage", Element::Known(Dtype::F16)),
    ("BFloat16Storage", Element::Known(Dtype::BF16)),
    ("FloatStorage", Element::Known(Dtype::F32)),
    ("DoubleStorage", Element::Known(Dtype::F64)),
    ("ComplexFloatStorage", Element::Foreign("complex64")),
    ("ComplexDoubleStorage", Element::Foreign("complex128")),
    ("QInt8Storage", Element::Foreign("qint8")),
    ("QInt32Storage", Element::Foreign("qint32")),
    ("QUInt8Storage", Element::Foreign("quint8")),
    ("QUInt4x2Storage", Element::Foreign("quint4x2")),
    ("QUInt2x4Storage", Element::Foreign("quint2x4")),
];

const DTYPES: [(&str, Element); 21] = [
    ("bool", Element::Known(Dtype::Bool)),
    ("uint8", Element::Known(Dtype::U8)),
    ("int8", Element::Known(Dtype::I8)),
    ("uint16", Element::Known(Dtype::U16)),
    ("int16", Element::Known(Dtype::I16)),
    ("uint32", Element::Known(Dtype::U32)),
    ("int32", Element::Known(Dtype::I32)),
    ("uint64", Element::Known(Dtype::U64)),
    ("int64", Element::Known(Dtype::I64)),
    ("float16", Element::Known(Dtype::F16)),
    ("bfloat16", Element::Known(Dtype::BF16)),
    ("float32", Element::Known(Dtype::F32)),
    ("float64", Element::Known(Dtype::F64)),
    ("complex32", Element::Foreign("complex32")),
    ("complex64", Element::Foreign("complex64")),
    ("complex128", Element::Foreign("complex128")),
    ("float8_e4m3fn", Element::Foreign("float8_e4m3fn")),
    ("float8_e4m3fnuz", Element::Foreign("float8_e4m3fnuz")),
    ("float8_e5m2", Element::Foreign("float8_e5m2")),
    ("float8_e5m2fnuz", Element::Foreign("float8_e5m2fnuz")),
    ("float8_e8m0fnu", Element::Foreign("float8_e8m0fnu")),
];
