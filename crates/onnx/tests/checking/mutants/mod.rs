//! Sound models with one thing changed, drawn from a fixed seed.

mod graphs;
mod nodes;
mod tensors;

use amphora_onnx::proto::{
    AttributeProto, AttributeType, DimensionProto, DimensionValue, FunctionProto, GraphProto,
    ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto, StringStringEntryProto,
    TensorProto, TypeValue, ValueInfoProto,
};
use bytes::Bytes;

/// A small generator of pseudo-random numbers (xorshift64*), the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    /// The generator that belongs to a word: one more mutant does not change the others.
    pub(crate) fn of_word(word: &str) -> Self {
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self(word.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound.max(1)
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    fn of<'a, T>(&mut self, items: &'a mut [T]) -> Option<&'a mut T> {
        let index = self.below(items.len());
        items.get_mut(index)
    }
}

/// A change, or `None` when the model has nothing to change that way.
pub(crate) type Mutation = fn(&mut ModelProto, &mut Random) -> Option<()>;

/// Every kind of change by name.
pub(crate) fn mutations() -> impl Iterator<Item = &'static (&'static str, Mutation)> {
    graphs::MUTATIONS
        .iter()
        .chain(nodes::MUTATIONS)
        .chain(tensors::MUTATIONS)
}

fn set<T>(place: &mut T, value: T) -> Option<()> {
    *place = value;
    Some(())
}

fn push<T>(list: &mut Vec<T>, item: T) -> Option<()> {
    list.push(item);
    Some(())
}

fn remove<T>(list: &mut Vec<T>, random: &mut Random) -> Option<()> {
    if list.is_empty() {
        return None;
    }
    list.remove(random.below(list.len()));
    Some(())
}

fn swap<T>(list: &mut [T], random: &mut Random) -> Option<()> {
    let (a, b) = (random.below(list.len()), random.below(list.len()));
    if list.is_empty() || a == b {
        return None;
    }
    list.swap(a, b);
    Some(())
}

/// A graph, the main one or one inside an attribute.
fn graph<'m>(model: &'m mut ModelProto, random: &mut Random) -> Option<&'m mut GraphProto> {
    let mut current = model.graph.as_mut()?;
    loop {
        let descend = random.below(3) > 0;
        let inner = current.node.iter().flat_map(|node| &node.attribute);
        let count = inner.filter(|attribute| attribute.g.is_some()).count();
        if !descend || count == 0 {
            return Some(current);
        }
        let chosen = random.below(count);
        let inner = current.node.iter_mut().flat_map(|node| &mut node.attribute);
        current = inner
            .filter_map(|attribute| attribute.g.as_deref_mut())
            .nth(chosen)?;
    }
}

fn node<'m>(model: &'m mut ModelProto, random: &mut Random) -> Option<&'m mut NodeProto> {
    if !model.functions.is_empty() && random.below(2) == 0 {
        let function = random.of(&mut model.functions)?;
        return random.of(&mut function.node);
    }
    let graph = graph(model, random)?;
    random.of(&mut graph.node)
}

/// The attributes of a node that has some.
fn attributes<'m>(
    model: &'m mut ModelProto,
    random: &mut Random,
) -> Option<&'m mut Vec<AttributeProto>> {
    let graph = graph(model, random)?;
    let with = |node: &&mut NodeProto| !node.attribute.is_empty();
    let count = graph.node.iter_mut().filter(with).count();
    let chosen = random.below(count);
    graph
        .node
        .iter_mut()
        .filter(with)
        .nth(chosen)
        .map(|node| &mut node.attribute)
}

fn value_info<'m>(
    model: &'m mut ModelProto,
    random: &mut Random,
) -> Option<&'m mut ValueInfoProto> {
    let graph = graph(model, random)?;
    match random.below(2) {
        0 => random.of(&mut graph.input),
        _ => random.of(&mut graph.output),
    }
}

fn nth_tensor(model: &mut ModelProto, chosen: usize) -> Option<&mut TensorProto> {
    let graph = model.graph.as_mut()?;
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    let constants = attributes.filter_map(|attribute| attribute.t.as_deref_mut());
    graph.initializer.iter_mut().chain(constants).nth(chosen)
}

/// An initializer or the tensor of an attribute.
fn tensor<'m>(model: &'m mut ModelProto, random: &mut Random) -> Option<&'m mut TensorProto> {
    let mut count = 0;
    while nth_tensor(model, count).is_some() {
        count += 1;
    }
    nth_tensor(model, random.below(count))
}

/// A tensor whose payload is in another file.
fn external<'m>(model: &'m mut ModelProto, random: &mut Random) -> Option<&'m mut TensorProto> {
    let list = &mut model.graph.as_mut()?.initializer;
    let is = |tensor: &&mut TensorProto| !tensor.external_data.is_empty();
    let count = list.iter_mut().filter(is).count();
    list.iter_mut().filter(is).nth(random.below(count))
}

fn entry<'m>(tensor: &'m mut TensorProto, key: &str) -> Option<&'m mut StringStringEntryProto> {
    tensor
        .external_data
        .iter_mut()
        .find(|entry| entry.key() == key)
}

fn function<'m>(model: &'m mut ModelProto, random: &mut Random) -> Option<&'m mut FunctionProto> {
    random.of(&mut model.functions)
}
