//! A small pickle writer (protocol 2).

/// A value to write.
#[derive(Debug, Clone)]
pub(crate) enum V {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Tuple(Vec<V>),
    List(Vec<V>),
    Dict(Vec<(V, V)>),
    Global(&'static str, &'static str),
    /// `REDUCE` of a name with a tuple of arguments.
    Call(&'static str, &'static str, Vec<V>),
    /// `BINPERSID` of a tuple.
    Persistent(Vec<V>),
    /// Instructions as they are.
    Raw(Vec<u8>),
}

impl V {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(crate) fn ints(values: &[i64]) -> Self {
        Self::Tuple(values.iter().map(|value| Self::Int(*value)).collect())
    }
}

/// The pickle of `value`, with protocol and stop.
pub(crate) fn dump(value: &V) -> Vec<u8> {
    let mut out = b"\x80\x02".to_vec();
    write(value, &mut out);
    out.push(b'.');
    out
}

fn write(value: &V, out: &mut Vec<u8>) {
    match value {
        V::None => out.push(b'N'),
        V::Bool(value) => out.push(if *value { 0x88 } else { 0x89 }),
        V::Int(value) => {
            out.extend([0x8a, 8]);
            out.extend(value.to_le_bytes());
        }
        V::Float(value) => {
            out.push(b'G');
            out.extend(value.to_be_bytes());
        }
        V::Text(text) => {
            out.push(b'X');
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(text.as_bytes());
        }
        V::Tuple(items) => {
            out.push(b'(');
            items.iter().for_each(|item| write(item, out));
            out.push(b't');
        }
        V::List(items) => {
            out.extend(b"](");
            items.iter().for_each(|item| write(item, out));
            out.push(b'e');
        }
        V::Dict(entries) => {
            out.extend(b"}(");
            for (key, value) in entries {
                write(key, out);
                write(value, out);
            }
            out.push(b'u');
        }
        V::Global(module, name) => out.extend(format!("c{module}\n{name}\n").as_bytes()),
        V::Call(module, name, arguments) => {
            write(&V::Global(module, name), out);
            write(&V::Tuple(arguments.clone()), out);
            out.push(b'R');
        }
        V::Persistent(fields) => {
            write(&V::Tuple(fields.clone()), out);
            out.push(b'Q');
        }
        V::Raw(bytes) => out.extend(bytes),
    }
}

/// `('storage', torch.<class>, key, 'cpu', elements)`.
pub(crate) fn storage(class: &'static str, key: &str, elements: i64) -> V {
    V::Persistent(vec![
        V::text("storage"),
        V::Global("torch", class),
        V::text(key),
        V::text("cpu"),
        V::Int(elements),
    ])
}

/// `torch._utils._rebuild_tensor_v2` over a storage.
pub(crate) fn tensor(storage: V, offset: i64, shape: &[i64], strides: &[i64]) -> V {
    V::Call(
        "torch._utils",
        "_rebuild_tensor_v2",
        vec![
            storage,
            V::Int(offset),
            V::ints(shape),
            V::ints(strides),
            V::Bool(false),
            V::Call("collections", "OrderedDict", vec![]),
        ],
    )
}

/// A contiguous float32 vector of `elements` in the storage `key`.
pub(crate) fn vector(key: &str, elements: i64) -> V {
    tensor(storage("FloatStorage", key, elements), 0, &[elements], &[1])
}

/// A dictionary with text keys.
pub(crate) fn dict(entries: &[(&str, V)]) -> V {
    V::Dict(
        entries
            .iter()
            .map(|(key, value)| (V::text(key), value.clone()))
            .collect(),
    )
}
