//! One graph: its inputs, initializers, nodes in order, outputs.

use std::collections::{HashMap, HashSet};

use amphora_error::quoted;

use super::{Checker, Scope, Surroundings, order, types};
use crate::proto::{GraphProto, NodeProto};
use crate::visit::{Place, Step};

impl<'m> Checker<'m> {
    /// Checks a graph. `main` is false for a graph inside an attribute, whose inputs and outputs need
    /// no types.
    pub(super) fn graph(
        &mut self,
        graph: &'m GraphProto,
        outer: &Scope<'_, 'm>,
        main: bool,
        surroundings: &Surroundings<'_, 'm>,
        parent: &Place<'_>,
    ) {
        let place = parent.step(Step::Graph(graph.name()));
        // A graph inside another is three messages deeper, and what is deeper than that could not
        // be read back.
        if outer.depth() > self.limits.nesting / 3 {
            let message = "too many graphs lie inside one another";
            self.findings.limit("nesting", &Place::MODEL, message);
            return;
        }
        if graph.name().is_empty() {
            self.findings
                .malformed("graph-name", &place, "the graph has no name");
        }
        let mut scope = Scope::inside(outer);
        self.inputs(graph, &mut scope, main, &place);
        self.initializers(graph, &mut scope, &place);
        self.nodes(&graph.node, &mut scope, main, surroundings, &place);
        self.outputs(graph, &scope, main, &place);
        self.value_infos(graph, &place);
    }

    fn inputs(
        &mut self,
        graph: &'m GraphProto,
        scope: &mut Scope<'_, 'm>,
        main: bool,
        place: &Place<'_>,
    ) {
        for input in &graph.input {
            let name = input.name();
            let what = format!("input {}", quoted(name));
            types::value_info(input, &what, main, &mut self.findings, place);
            if !scope.add(name) {
                let message = format!("{what} occurs twice");
                self.findings.malformed("input-duplicate", place, message);
            }
        }
    }

    fn initializers(
        &mut self,
        graph: &'m GraphProto,
        scope: &mut Scope<'_, 'm>,
        place: &Place<'_>,
    ) {
        let types: HashMap<&str, _> = graph
            .input
            .iter()
            .map(|input| (input.name(), input))
            .collect();
        let mut names = HashSet::new();
        for tensor in &graph.initializer {
            let name = tensor.name();
            self.initializer_name(name, &mut names, place);
            if self.ir <= 3 && !scope.has(name) {
                let message = format!(
                    "initializer {} is not an input, which IR versions before 4 demand",
                    quoted(name)
                );
                self.findings
                    .malformed("initializer-not-input", place, message);
            }
            scope.add(name);
            if let Some(fault) = types
                .get(name)
                .and_then(|input| types::differs(input, tensor))
            {
                let message = format!("initializer {}: {fault}", quoted(name));
                self.findings.malformed("initializer-type", place, message);
            }
        }
        for pair in &graph.sparse_initializer {
            let name = pair.values.as_ref().map_or("", |values| values.name());
            self.initializer_name(name, &mut names, place);
            self.sparse(pair, &format!("sparse initializer {}", quoted(name)), place);
            scope.add(name);
        }
    }

    fn initializer_name(&mut self, name: &'m str, names: &mut HashSet<&'m str>, place: &Place<'_>) {
        if name.is_empty() {
            let message = "an initializer has no name";
            self.findings.malformed("initializer-name", place, message);
        } else if !names.insert(name) {
            let message = format!("initializer {} occurs twice", quoted(name));
            self.findings
                .malformed("initializer-duplicate", place, message);
        }
    }

    /// Checks nodes in their order: every input must be known by then, every output new.
    pub(super) fn nodes(
        &mut self,
        nodes: &'m [NodeProto],
        scope: &mut Scope<'_, 'm>,
        main: bool,
        surroundings: &Surroundings<'_, 'm>,
        place: &Place<'_>,
    ) {
        let mut unordered = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let at = place.step(Step::Node {
                index,
                name: node.name(),
                operator: node.op_type(),
            });
            let inputs = node.input.iter().filter(|name| !name.is_empty());
            for input in inputs.filter(|name| !scope.sees(name)) {
                unordered.push((index, input.as_str()));
            }
            self.node(node, scope, main, surroundings, &at);
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                if scope.sees(output) {
                    let message = format!("value {} is made twice", quoted(output));
                    self.findings.malformed("value-duplicate", &at, message);
                }
                scope.add(output);
            }
        }
        if !unordered.is_empty() {
            self.unordered(nodes, &unordered, scope, place);
        }
    }

    /// Tells a cycle, a wrong order and a value that nobody makes apart.
    fn unordered(
        &mut self,
        nodes: &'m [NodeProto],
        uses: &[(usize, &'m str)],
        scope: &Scope<'_, 'm>,
        place: &Place<'_>,
    ) {
        let cycle = order::cycle(nodes).unwrap_or_default();
        if !cycle.is_empty() {
            let message = format!(
                "the nodes depend on each other in a cycle: {}",
                order::describe(nodes, &cycle)
            );
            self.findings.malformed("cycle", place, message);
        }
        let cycle: HashSet<usize> = cycle.into_iter().collect();
        for (index, input) in uses {
            let node = &nodes[*index];
            let at = place.step(Step::Node {
                index: *index,
                name: node.name(),
                operator: node.op_type(),
            });
            // By now the scope holds what the later nodes make, too.
            if !scope.has(input) {
                let message = format!("nothing before the node makes its input {}", quoted(input));
                self.findings.malformed("input-dangling", &at, message);
            } else if !cycle.contains(index) {
                let message = format!("input {} is only made by a later node", quoted(input));
                self.findings.malformed("node-order", &at, message);
            }
        }
    }

    fn outputs(
        &mut self,
        graph: &'m GraphProto,
        scope: &Scope<'_, 'm>,
        main: bool,
        place: &Place<'_>,
    ) {
        let mut names = HashSet::new();
        for output in &graph.output {
            let name = output.name();
            let what = format!("output {}", quoted(name));
            types::value_info(output, &what, main, &mut self.findings, place);
            if !scope.has(name) {
                let message = format!("nothing in the graph makes {what}");
                self.findings.malformed("output-dangling", place, message);
            }
            if main && !names.insert(name) {
                let message =
                    format!("{what} occurs twice, so that it cannot be asked for by name");
                self.findings.malformed("output-duplicate", place, message);
            }
        }
    }

    /// Declared types of inner values are hints; a broken one is worth a word.
    fn value_infos(&mut self, graph: &'m GraphProto, place: &Place<'_>) {
        for info in &graph.value_info {
            if let Some(fault) = info.r#type.as_ref().and_then(types::fault) {
                let message = format!("the type of value {}: {fault}", quoted(info.name()));
                self.findings
                    .warn(fault.kind(), "value-type", place, message);
            }
        }
    }
}
