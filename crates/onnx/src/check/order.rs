//! Whether nodes that are out of order could be put in order, or depend on themselves.

use std::collections::HashMap;

use amphora_error::printable;

use crate::proto::NodeProto;

/// Most nodes of a cycle that are named.
const NAMED: usize = 32;

/// The nodes of one cycle in the order of the data, the earliest first, or `None` when there is none.
///
/// Only edges inside this list of nodes count; `O(nodes + edges)`, without recursion.
pub(super) fn cycle(nodes: &[NodeProto]) -> Option<Vec<usize>> {
    let mut producers = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            producers.entry(output.as_str()).or_insert(index);
        }
    }
    let sources = |index: usize| {
        let inputs = nodes[index].input.iter();
        inputs.filter_map(|input| producers.get(input.as_str()).copied())
    };
    let mut missing = vec![0_usize; nodes.len()];
    let mut users = vec![Vec::new(); nodes.len()];
    for (index, missing) in missing.iter_mut().enumerate() {
        for source in sources(index) {
            *missing += 1;
            users[source].push(index);
        }
    }
    let mut ready: Vec<usize> = (0..nodes.len())
        .filter(|index| missing[*index] == 0)
        .collect();
    while let Some(index) = ready.pop() {
        for user in &users[index] {
            missing[*user] -= 1;
            if missing[*user] == 0 {
                ready.push(*user);
            }
        }
    }
    // Every node left has a source that is left too: walking up the sources must come round.
    let start = missing.iter().position(|count| *count > 0)?;
    let mut step_of = HashMap::new();
    let mut path = Vec::new();
    let mut current = start;
    loop {
        if let Some(first) = step_of.insert(current, path.len()) {
            path.drain(..first);
            path.reverse();
            let earliest = (0..path.len()).min_by_key(|position| path[*position]);
            path.rotate_left(earliest.unwrap_or(0));
            return Some(path);
        }
        path.push(current);
        current = sources(current).find(|source| missing[*source] > 0)?;
    }
}

/// The names of the nodes of a cycle, ending with the first one again.
pub(super) fn describe(nodes: &[NodeProto], cycle: &[usize]) -> String {
    let mut names: Vec<String> = cycle
        .iter()
        .take(NAMED)
        .map(|index| name(&nodes[*index], *index))
        .collect();
    if cycle.len() > NAMED {
        names.push(format!("({} more)", cycle.len() - NAMED));
    }
    names.extend(cycle.first().map(|index| name(&nodes[*index], *index)));
    names.join(" -> ")
}

fn name(node: &NodeProto, index: usize) -> String {
    let operator = printable(node.op_type());
    match node.name() {
        "" => format!("node {index} ({operator})"),
        name => format!("{} ({operator})", amphora_error::quoted(name)),
    }
}
