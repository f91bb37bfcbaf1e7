//! How far rten follows a graph by recursion.
//!
//! rten's planner calls itself for the producer of each input, so that the longest chain of nodes is
//! the depth of its stack; when that overflows, the process ends. At about 400 bytes for each call, a
//! chain of [`DEEPEST`] nodes fits a thread's stack of 2 MiB.

use std::collections::HashMap;

use amphora_error::{Error, Result};
use amphora_onnx::Model;
use amphora_onnx::proto::{GraphProto, NodeProto};

/// Longest chain of nodes, those of sub-graphs included.
const DEEPEST: usize = 4_000;

/// Refuses a model whose longest chain of nodes is too long for rten.
///
/// Nodes stand after the nodes whose outputs they read, as the model check demands; in a graph that
/// it is still to refuse, chains look shorter than they are.
pub(super) fn check(model: &Model) -> Result<()> {
    let found = model.proto().graph.as_ref().map_or(0, longest);
    if found <= DEEPEST {
        return Ok(());
    }
    Err(Error::limit(
        "engine-depth",
        "the model has too long a chain of nodes for rten",
    )
    .expected(format!("at most {DEEPEST} nodes"))
    .found(format!("{found} nodes"))
    .hint("choose the engine ort"))
}

/// The longest chain of a graph. The recursion is as deep as sub-graphs are nested, which the limits
/// of reading bound.
fn longest(graph: &GraphProto) -> usize {
    let mut ends: HashMap<&str, usize> = HashMap::new();
    let mut found = 0;
    for node in &graph.node {
        let before = node.input.iter().filter_map(|name| ends.get(name.as_str()));
        let end = before
            .max()
            .copied()
            .unwrap_or(0)
            .saturating_add(weight(node));
        found = found.max(end);
        ends.extend(node.output.iter().map(|name| (name.as_str(), end)));
    }
    found
}

/// What a node adds to a chain: itself and the longest chain inside it.
fn weight(node: &NodeProto) -> usize {
    let graphs = node
        .attribute
        .iter()
        .flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs));
    1 + graphs.map(longest).max().unwrap_or(0)
}
