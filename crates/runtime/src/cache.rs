//! Values that stay inside an engine between two calls.

use amphora_error::{Error, Result, quoted};
use amphora_onnx::{Contract, Dim, Dtype, TensorSpec};

use crate::Tensor;
use crate::engines::{ort, rten};
use crate::isolate::Slot;

/// The axis of the positions when the contract does not tell: `[batch, heads, positions, size]`.
const POSITIONS: usize = 2;
/// Positions that are reserved at least.
const LEAST_ROOM: usize = 64;

/// An output that is an input of the next call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The output, for example `present_key_0`.
    pub output: String,
    /// The input, for example `past_key_0`.
    pub input: String,
    /// The axis along which the output is longer than the input.
    pub axis: usize,
}

impl Link {
    /// Every input of a graph that has `past` in its name and whose name with `present` instead is
    /// an output of the graph, in the order of the inputs. Names of the form
    /// `past_key_values.0.key`, with the output `present.0.key`, are understood too.
    pub fn by_name(contract: &Contract) -> Vec<Self> {
        let inputs = contract.inputs.iter();
        inputs
            .filter_map(|input| Self::of(input, contract))
            .collect()
    }

    fn of(input: &TensorSpec, contract: &Contract) -> Option<Self> {
        let rest = input.name.strip_prefix("past")?;
        let rest = rest.strip_prefix("_key_values.").map_or_else(
            || format!("present{rest}"),
            |layer| format!("present.{layer}"),
        );
        let output = contract.outputs.iter().find(|spec| spec.name == rest)?;
        Some(Self {
            output: output.name.clone(),
            input: input.name.clone(),
            axis: grown(input, output),
        })
    }
}

/// The one axis in which an output differs from the input that it becomes.
fn grown(input: &TensorSpec, output: &TensorSpec) -> usize {
    let (Some(before), Some(after)) = (&input.shape, &output.shape) else {
        return POSITIONS;
    };
    let pairs = before.iter().zip(after).enumerate();
    let mut differing = pairs
        .filter(|(_, (a, b))| a != b && !matches!((a, b), (Dim::Unknown, _) | (_, Dim::Unknown)));
    match (differing.next(), differing.next()) {
        (Some((axis, _)), None) => axis,
        _ => POSITIONS,
    }
}

/// What a graph that writes step by step has to remember: the keys and values of all positions so
/// far. [`crate::Session::run_cached`] takes it and gives it back longer; nobody else looks inside.
///
/// On the engine rten, a value has room for positions to come ([`Cache::reserve`]), and a step writes
/// only its own. On ONNX Runtime, values stay in its memory. On other engines, and on an engine in a
/// process of its own, they travel as tensors.
#[derive(Debug, Default)]
pub struct Cache {
    links: Vec<Link>,
    /// One for each link, none before the first call and after a failed one.
    values: Vec<Kept>,
    room: usize,
    copied: u64,
}

impl Cache {
    /// A cache without any value yet.
    pub fn new(links: Vec<Link>) -> Self {
        Self {
            links,
            ..Self::default()
        }
    }

    /// Which output becomes which input.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// How many positions are remembered.
    pub fn positions(&self) -> usize {
        let first = self.links.first().zip(self.values.first());
        first.map_or(0, |(link, value)| {
            value.shape.get(link.axis).copied().unwrap_or(0)
        })
    }

    /// Says how many positions the next call reaches, and how many will be reached at most. Room
    /// grows by doubling up to the latter, so that all growing together copies each position about
    /// once.
    pub fn reserve(&mut self, next: usize, most: usize) {
        if next > self.room {
            let doubled = next.saturating_mul(2).max(LEAST_ROOM);
            self.room = doubled.min(most).max(next);
        }
    }

    /// Bytes of remembered values that were copied so far to hand them from one call to the next or
    /// to make room for them. What an engine copies unseen inside a call is not in it.
    pub fn copied_bytes(&self) -> u64 {
        self.copied
    }

    /// The values that a graph takes, by their input names; their places are left empty.
    pub(crate) fn take(&mut self, contract: &Contract) -> Result<Vec<Fed>> {
        let has = |link: &Link| contract.inputs.iter().any(|spec| spec.name == link.input);
        if !self.links.iter().any(has) {
            self.values.clear();
            return Ok(Vec::new());
        }
        if self.values.len() != self.links.len() {
            return Err(Error::usage(
                "cache-empty",
                "the graph continues from a cache, and the cache is empty",
            )
            .hint("run the graph that reads the prompt first"));
        }
        let values = std::mem::take(&mut self.values);
        let pairs = self.links.iter().zip(values);
        Ok(pairs
            .filter(|(link, _)| has(link))
            .map(|(link, value)| Fed {
                name: link.input.clone(),
                value,
                axis: link.axis,
                room: self.room,
            })
            .collect())
    }

    /// The outputs that a graph leaves here: all of them, or none of a graph that has none.
    pub(crate) fn kept(&self, contract: &Contract) -> Result<Vec<&str>> {
        let has = |link: &Link| contract.outputs.iter().any(|spec| spec.name == link.output);
        let missing = self.links.iter().filter(|link| !has(link));
        let missing: Vec<String> = missing
            .map(|link| quoted(&link.output).to_string())
            .collect();
        if !missing.is_empty() {
            return Err(Error::incompatible(
                "cache-output",
                "the graph does not have every output that the next call needs",
            )
            .faults(missing));
        }
        Ok(self.links.iter().map(|link| link.output.as_str()).collect())
    }

    pub(crate) fn put(&mut self, values: Vec<Kept>, copied: u64) {
        self.values = values;
        self.copied = self.copied.saturating_add(copied);
    }
}

/// A value that an engine keeps, with the element type of the contract.
#[derive(Debug)]
pub struct Kept {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) held: Held,
}

/// Where a kept value is.
#[derive(Debug)]
pub(crate) enum Held {
    Tensor(Tensor),
    Rten(::rten::Value),
    Ort(::ort::value::DynValue),
    /// In the process of an engine.
    Apart(Slot),
}

impl Kept {
    /// The value as a tensor, copied out of the engine's memory where it is not one already.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Incompatible`] when the engine's value is of another type.
    pub fn into_tensor(self) -> Result<Tensor> {
        const NAME: &str = "cache";
        match self.held {
            Held::Tensor(tensor) => Ok(tensor),
            Held::Rten(value) => rten::output(NAME, Some(self.dtype), value),
            Held::Ort(value) => ort::output(NAME, Some(self.dtype), &value),
            Held::Apart(slot) => slot.fetch(),
        }
    }

    /// Bytes of the elements.
    pub(crate) fn bytes(&self) -> u64 {
        let elements = self.shape.iter().map(|&size| size as u64);
        let elements = elements.fold(1, u64::saturating_mul);
        self.dtype.byte_size(elements).unwrap_or(0)
    }
}

impl From<Tensor> for Kept {
    fn from(tensor: Tensor) -> Self {
        Self {
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            held: Held::Tensor(tensor),
        }
    }
}

/// A kept value on its way into a graph.
#[derive(Debug)]
pub struct Fed {
    /// The input.
    pub name: String,
    /// The value.
    pub value: Kept,
    /// The axis along which the graph makes it longer.
    pub axis: usize,
    /// The length along this axis that an engine which can make room should make it for.
    pub room: usize,
}

/// What a call gives when some of its outputs stay with the engine.
#[derive(Debug)]
pub struct Ran {
    /// The outputs that were asked for, in that order.
    pub outputs: Vec<Tensor>,
    /// The outputs that were to be kept, in that order.
    pub kept: Vec<Kept>,
    /// Bytes of kept values, in and out, that were copied on the way.
    pub copied: u64,
}
