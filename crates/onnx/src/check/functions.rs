//! Functions of a model: who calls whom, how much inlining would make of it, and each body.

use std::collections::{HashMap, HashSet};

use amphora_error::quoted;

use super::{Checker, Findings, Opsets, Scope, Surroundings};
use crate::operators::{self, canonical_domain};
use crate::proto::{FunctionProto, GraphProto, ModelProto, NodeProto};
use crate::visit::{Place, Step};

/// Most functions of a model; the number that `onnx.checker` allows.
const MOST_FUNCTIONS: usize = 10_000;
/// Most functions that call one another in a row; the number that `onnx.checker` allows.
const DEEPEST_CALL: usize = 100;

/// The attributes that a function declares.
pub(super) type Parameters<'m> = HashSet<&'m str>;

/// The functions of a model by domain, name and overload.
pub(super) struct Functions<'m> {
    index: HashMap<(&'m str, &'m str, &'m str), usize>,
    list: &'m [FunctionProto],
}

impl<'m> Functions<'m> {
    fn position(&self, node: &NodeProto) -> Option<usize> {
        let key = (
            canonical_domain(node.domain()),
            node.op_type(),
            node.overload(),
        );
        self.index.get(&key).copied()
    }

    /// The function that a node calls.
    pub(super) fn callee(&self, node: &NodeProto) -> Option<&'m FunctionProto> {
        self.position(node)
            .and_then(|position| self.list.get(position))
    }
}

pub(super) fn collect<'m>(list: &'m [FunctionProto], findings: &mut Findings) -> Functions<'m> {
    let mut index = HashMap::new();
    for (position, function) in list.iter().enumerate() {
        let key = (
            canonical_domain(function.domain()),
            function.name(),
            function.overload(),
        );
        if index.insert(key, position).is_some() {
            let place = Place::MODEL.step(Step::Function(function.name()));
            findings.malformed(
                "function-duplicate",
                &place,
                "the function is defined twice",
            );
        }
    }
    Functions { index, list }
}

/// What a body holds: nodes of its own, and calls of functions (by position) with their number.
#[derive(Default)]
struct Body {
    nodes: u64,
    calls: HashMap<usize, u64>,
}

fn body(nodes: &[NodeProto], functions: &Functions<'_>) -> Body {
    let mut body = Body::default();
    let mut pending: Vec<&[NodeProto]> = vec![nodes];
    while let Some(nodes) = pending.pop() {
        for node in nodes {
            match functions.position(node) {
                Some(callee) => *body.calls.entry(callee).or_insert(0) += 1,
                None => body.nodes += 1,
            }
            for attribute in &node.attribute {
                let inner = attribute
                    .g
                    .iter()
                    .map(AsRef::as_ref)
                    .chain(&attribute.graphs);
                pending.extend(inner.map(|graph: &GraphProto| graph.node.as_slice()));
            }
        }
    }
    body
}

impl<'m> Checker<'m> {
    pub(super) fn functions(&mut self, proto: &'m ModelProto, outer: &Surroundings<'_, 'm>) {
        if proto.functions.is_empty() {
            return;
        }
        if proto.functions.len() > MOST_FUNCTIONS {
            let message = format!(
                "the model has {} functions; at most {MOST_FUNCTIONS} are allowed",
                proto.functions.len()
            );
            self.findings.limit("functions", &Place::MODEL, message);
            return;
        }
        self.calls(proto, outer.functions);
        // A domain that only functions import has the version of the first that does.
        let mut model_opsets = outer.opsets.clone();
        for function in &proto.functions {
            for import in &function.opset_import {
                model_opsets
                    .entry(import.domain())
                    .or_insert(import.version());
            }
        }
        for function in &proto.functions {
            self.function(function, &model_opsets, outer.functions);
        }
    }

    /// Refuses recursion, and calls that would inline to too many nodes.
    fn calls(&mut self, proto: &'m ModelProto, functions: &Functions<'m>) {
        let bodies: Vec<Body> = proto
            .functions
            .iter()
            .map(|function| body(&function.node, functions))
            .collect();
        let order = match callees_first(&bodies) {
            Ok(order) => order,
            Err(cycle) => {
                let names = cycle.iter().chain(cycle.first());
                let names: Vec<String> = names
                    .map(|position| quoted(proto.functions[*position].name()).to_string())
                    .collect();
                let message = format!("functions call themselves: {}", names.join(" -> "));
                self.findings
                    .malformed("function-recursion", &Place::MODEL, message);
                return;
            }
        };
        let mut inlined = vec![0_u64; bodies.len()];
        let mut depth = vec![1_usize; bodies.len()];
        for position in order {
            inlined[position] = inlined_nodes(&bodies[position], &inlined);
            let deepest = bodies[position]
                .calls
                .keys()
                .map(|callee| depth[*callee])
                .max();
            depth[position] = deepest.unwrap_or(0) + 1;
        }
        if depth.iter().any(|depth| *depth > DEEPEST_CALL) {
            let message = format!("more than {DEEPEST_CALL} functions call one another in a row");
            self.findings
                .limit("function-depth", &Place::MODEL, message);
        }
        let main = proto
            .graph
            .as_ref()
            .map(|graph| body(&graph.node, functions));
        let total = main.map_or(0, |main| inlined_nodes(&main, &inlined));
        let largest = inlined.iter().copied().max().unwrap_or(0).max(total);
        if largest > self.limits.nodes {
            let message = format!(
                "inlining the functions would make {} nodes; at most {} are allowed",
                if largest == u64::MAX {
                    "countless".to_owned()
                } else {
                    largest.to_string()
                },
                self.limits.nodes
            );
            self.findings.limit("inlined-nodes", &Place::MODEL, message);
        }
    }

    fn function(
        &mut self,
        function: &'m FunctionProto,
        model_opsets: &Opsets<'m>,
        functions: &Functions<'m>,
    ) {
        let place = Place::MODEL.step(Step::Function(function.name()));
        if function.name().is_empty() {
            self.findings
                .malformed("function-name", &place, "a function has no name");
        }
        if function.domain.is_none() && self.ir >= 8 {
            self.findings
                .malformed("function-domain", &place, "the function has no domain");
        }
        let opsets = self.opsets(&function.opset_import, &place);
        let mut parameters = Parameters::new();
        let defaults = function
            .attribute_proto
            .iter()
            .map(|attribute| attribute.name());
        for name in function
            .attribute
            .iter()
            .map(String::as_str)
            .chain(defaults)
        {
            if !parameters.insert(name) {
                let message = format!("attribute {} is declared twice", quoted(name));
                self.findings
                    .malformed("function-attribute", &place, message);
            }
        }
        let outermost = Scope::default();
        let mut scope = Scope::inside(&outermost);
        for input in &function.input {
            if !scope.add(input) {
                let message = format!("input {} occurs twice", quoted(input));
                self.findings.malformed("input-duplicate", &place, message);
            }
        }
        for node in &function.node {
            self.compatible(node, &opsets, model_opsets, &place);
        }
        let surroundings = Surroundings {
            opsets: &opsets,
            functions,
            parameters: Some(&parameters),
        };
        for default in &function.attribute_proto {
            self.attribute(default, &outermost, true, &surroundings, &place);
        }
        self.nodes(&function.node, &mut scope, true, &surroundings, &place);
        let mut outputs = HashSet::new();
        for output in &function.output {
            if !outputs.insert(output) {
                let message = format!("output {} occurs twice", quoted(output));
                self.findings.malformed("output-duplicate", &place, message);
            }
            if !scope.has(output) {
                let message = format!("nothing in the function makes output {}", quoted(output));
                self.findings.malformed("output-dangling", &place, message);
            }
        }
    }

    /// A node must mean the same operator by the function's imports as by the model's.
    fn compatible(
        &mut self,
        node: &NodeProto,
        function_opsets: &Opsets<'m>,
        model_opsets: &Opsets<'m>,
        place: &Place<'_>,
    ) {
        let (domain, name) = (node.domain(), node.op_type());
        let Some(inner) = function_opsets.get(domain) else {
            let message = format!(
                "the function does not import the operator set {} of operator {}",
                quoted(if domain.is_empty() { "ai.onnx" } else { domain }),
                quoted(name)
            );
            self.findings
                .malformed("opset-not-imported", place, message);
            return;
        };
        let since = |opset: i64| {
            let operator = operators::find(domain, name, u64::try_from(opset).unwrap_or(0));
            operator.map(|operator| operator.since_version)
        };
        let outer = model_opsets.get(domain).unwrap_or(inner);
        if inner != outer && since(*inner) != since(*outer) {
            let message = format!(
                "operator {} differs between version {inner} of {}, which the function imports, and version {outer}, which the model imports",
                quoted(name),
                quoted(if domain.is_empty() { "ai.onnx" } else { domain }),
            );
            self.findings.malformed("function-opset", place, message);
        }
    }

    /// A node that calls a function passes and takes no more than the function has.
    pub(super) fn call(&mut self, node: &NodeProto, callee: &FunctionProto, place: &Place<'_>) {
        for (what, used, had) in [
            ("inputs", node.input.len(), callee.input.len()),
            ("outputs", node.output.len(), callee.output.len()),
        ] {
            if used > had {
                let message = format!("the node has {used} {what}, the function has {had}");
                self.findings.malformed("arity", place, message);
            }
        }
    }
}

fn inlined_nodes(body: &Body, inlined: &[u64]) -> u64 {
    body.calls
        .iter()
        .fold(body.nodes, |total, (callee, times)| {
            total.saturating_add(inlined[*callee].saturating_mul(*times))
        })
}

/// The positions of all bodies, each after those that it calls, or the positions of a cycle.
fn callees_first(bodies: &[Body]) -> Result<Vec<usize>, Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        OnPath,
        Done,
    }
    let mut state = vec![State::New; bodies.len()];
    let mut order = Vec::with_capacity(bodies.len());
    for root in 0..bodies.len() {
        if state[root] != State::New {
            continue;
        }
        state[root] = State::OnPath;
        let mut path = vec![(root, bodies[root].calls.keys())];
        while let Some((position, callees)) = path.last_mut() {
            match callees.next() {
                None => {
                    state[*position] = State::Done;
                    order.push(*position);
                    path.pop();
                }
                Some(callee) => match state[*callee] {
                    State::Done => {}
                    State::New => {
                        state[*callee] = State::OnPath;
                        path.push((*callee, bodies[*callee].calls.keys()));
                    }
                    State::OnPath => {
                        let path: Vec<usize> = path.iter().map(|step| step.0).collect();
                        let start = path.iter().position(|step| step == callee).unwrap_or(0);
                        return Err(path[start..].to_vec());
                    }
                },
            }
        }
    }
    Ok(order)
}
