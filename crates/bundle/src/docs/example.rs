//! An example call of a graph: real names, shapes that fit, values that any model takes.

use std::collections::BTreeMap;

use amphora_error::Result;
use amphora_onnx::{Dim, Dtype};
use serde_json::Value;

use crate::layout::DOCS;
use crate::manifest::{Graph, IoSpec};

/// Size given to dimensions that vary, except a first one, which counts cases and gets 1.
const VARYING: u64 = 4;
/// What the export of language models calls the number of tokens in the cache ...
const PAST: &str = "past";
/// ... and of those and the new ones together.
const TOTAL: &str = "total";
/// Inputs up to this many elements are written on the command line ...
const INLINE: u64 = 16;
/// ... and up to this many into a file beside the documentation.
const IN_FILE: u64 = 8192;

/// An example call of one graph.
pub(super) struct Example {
    graph: String,
    file: String,
    inputs: Vec<Input>,
}

struct Input {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
    elements: u64,
    file: String,
}

impl Example {
    pub(super) fn of(name: &str, graph: &Graph) -> Self {
        let mut bound = BTreeMap::new();
        let mut dims = graph
            .io
            .inputs
            .iter()
            .flat_map(|spec| spec.dims.iter().flatten());
        if dims.any(|dim| *dim == Dim::Symbol(PAST.to_owned())) {
            bound.insert(TOTAL.to_owned(), 2 * VARYING);
        }
        for spec in &graph.io.inputs {
            if let Some(Dim::Symbol(symbol)) = spec.dims.iter().flatten().next() {
                bound.insert(symbol.clone(), 1);
            }
        }
        let inputs = graph.io.inputs.iter().enumerate();
        Self {
            graph: name.to_owned(),
            file: graph.file.to_string(),
            inputs: inputs
                .map(|(index, spec)| Input::of(name, index, spec, &bound))
                .collect(),
        }
    }

    /// The example inputs that are too large for a command line and small enough for a file.
    pub(super) fn files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        self.inputs
            .iter()
            .filter(|input| input.place() == Place::File)
            .map(|input| {
                let value = nested(&input.shape, &input.element());
                let mut bytes = value.to_string().into_bytes();
                bytes.push(b'\n');
                Ok((input.file.clone(), bytes))
            })
            .collect()
    }

    /// The `amphora run` command, for the bundle's own folder.
    pub(super) fn command(&self) -> String {
        let mut command = "amphora run .".to_owned();
        for input in &self.inputs {
            let value = match input.place() {
                Place::Inline => nested(&input.shape, &input.element()).to_string(),
                Place::File => format!("@{DOCS}{}", input.file),
                Place::Own => format!("{}.npy", input.stem()),
            };
            let argument = shell_word(&format!("{}={value}", input.name));
            command.push_str(&format!(" \\\n  --input {argument}"));
        }
        command
    }

    /// What has to be said about the command: where inputs come from that are not shipped.
    pub(super) fn note(&self) -> String {
        let mut note = String::new();
        for input in self.inputs.iter().filter(|i| i.place() == Place::Own) {
            note.push_str(&format!(
                "`{}.npy` holds your own data in NumPy's format: {} of shape {}.\n",
                input.stem(),
                input.dtype,
                shape_text(&input.shape)
            ));
        }
        note
    }

    /// A program for Python with ONNX Runtime, as a Markdown block.
    pub(super) fn python(&self) -> String {
        let mut lines = Vec::new();
        for input in &self.inputs {
            let Some(array) = input.numpy() else {
                return format!(
                    "NumPy has no arrays of {}, so there is no example in Python for graph `{}`.\n",
                    input.dtype, self.graph
                );
            };
            lines.push(format!("    {}: {array},\n", Value::from(&*input.name)));
        }
        format!(
            "```python\nimport numpy as np\nimport onnxruntime as ort\n\n\
             session = ort.InferenceSession({}, providers=[\"CPUExecutionProvider\"])\n\
             outputs = session.run(None, {{\n{}}})\n\
             for info, value in zip(session.get_outputs(), outputs):\n    \
             print(info.name, value.dtype, value.shape)\n```\n",
            Value::from(&*self.file),
            lines.concat()
        )
    }
}

#[derive(PartialEq, Eq)]
enum Place {
    Inline,
    File,
    Own,
}

impl Input {
    fn of(graph: &str, index: usize, spec: &IoSpec, bound: &BTreeMap<String, u64>) -> Self {
        let dims = spec.tensor_spec().shape.unwrap_or_default();
        let size = |(axis, dim): (usize, &Dim)| match dim {
            Dim::Fixed(size) => *size,
            Dim::Symbol(symbol) => bound.get(symbol).copied().unwrap_or(VARYING),
            Dim::Unknown if axis == 0 => 1,
            Dim::Unknown => VARYING,
        };
        let shape: Vec<u64> = dims.iter().enumerate().map(size).collect();
        // An empty dimension counts as one: a large one beside it would still be written out.
        let elements = shape
            .iter()
            .try_fold(1_u64, |n, size| n.checked_mul((*size).max(1)));
        Self {
            name: spec.name.clone(),
            dtype: spec.dtype,
            shape,
            elements: elements.unwrap_or(u64::MAX),
            file: format!("examples/{graph}_input_{index}.json"),
        }
    }

    fn place(&self) -> Place {
        if self.elements <= INLINE {
            Place::Inline
        } else if self.elements <= IN_FILE {
            Place::File
        } else {
            Place::Own
        }
    }

    fn stem(&self) -> &str {
        let end = self.file.len() - ".json".len();
        self.file[..end].trim_start_matches("examples/")
    }

    fn element(&self) -> Value {
        match self.dtype {
            Dtype::Bool => Value::Bool(true),
            Dtype::String => "text".into(),
            Dtype::Complex64 | Dtype::Complex128 => Value::from(vec![1.0, 0.0]),
            Dtype::Float16 | Dtype::Bfloat16 | Dtype::Float32 | Dtype::Float64 => Value::from(1.0),
            _ => Value::from(1),
        }
    }

    fn numpy(&self) -> Option<String> {
        let shape = shape_text(&self.shape);
        let dtype = match self.dtype {
            Dtype::String => return Some(format!("np.full({shape}, \"text\", dtype=object)")),
            Dtype::Bool => "bool_",
            Dtype::Float16
            | Dtype::Float32
            | Dtype::Float64
            | Dtype::Int8
            | Dtype::Int16
            | Dtype::Int32
            | Dtype::Int64
            | Dtype::Uint8
            | Dtype::Uint16
            | Dtype::Uint32
            | Dtype::Uint64
            | Dtype::Complex64
            | Dtype::Complex128 => self.dtype.name(),
            _ => return None,
        };
        Some(format!("np.ones({shape}, dtype=np.{dtype})"))
    }
}

/// Python's way to write a shape.
fn shape_text(shape: &[u64]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    match sizes.as_slice() {
        [one] => format!("({one},)"),
        sizes => format!("({})", sizes.join(", ")),
    }
}

/// Arrays inside arrays, every element the same. The number of elements was checked before.
fn nested(shape: &[u64], element: &Value) -> Value {
    let mut value = element.clone();
    for size in shape.iter().rev() {
        let size = usize::try_from(*size).unwrap_or(0);
        value = Value::Array(vec![value; size]);
    }
    value
}

/// One word for a POSIX shell.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
