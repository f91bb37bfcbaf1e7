//! One node against the schema of its operator.

use std::collections::HashSet;

use amphora_error::quoted;

use super::report::{Unusable, UnusableOperator};
use super::{Checker, Scope, Surroundings};
use crate::operators::{self, Operator, Presence, Signature};
use crate::proto::{AttributeProto, AttributeType, NodeProto};
use crate::visit::Place;

impl<'m> Checker<'m> {
    pub(super) fn node(
        &mut self,
        node: &'m NodeProto,
        scope: &Scope<'_, 'm>,
        main: bool,
        surroundings: &Surroundings<'_, 'm>,
        place: &Place<'_>,
    ) {
        if node.op_type().is_empty() {
            let message = "the node has no operator";
            self.findings.malformed("operator-name", place, message);
        }
        if node.input.is_empty() && node.output.is_empty() {
            let message = "the node has neither inputs nor outputs";
            self.findings.malformed("node-empty", place, message);
        }
        let mut names = HashSet::new();
        for attribute in &node.attribute {
            if !names.insert(attribute.name()) {
                let message = format!("attribute {} occurs twice", quoted(attribute.name()));
                self.findings
                    .malformed("attribute-duplicate", place, message);
            }
            self.attribute(attribute, scope, main, surroundings, place);
        }
        let domain = node.domain();
        let imported = surroundings.opsets.get(domain).or_else(|| {
            let default = domain.is_empty().then_some("ai.onnx");
            default.and_then(|alias| surroundings.opsets.get(alias))
        });
        if domain == "ai.onnx" {
            // The specification allows it, onnx.checker and some engines do not.
            let message =
                "the node spells out the domain 'ai.onnx', which readers expect to be empty";
            self.findings.unsupported("domain-alias", place, message);
        }
        match imported {
            Some(opset) => self.operator(node, *opset, surroundings, place),
            None => {
                let shown = if domain.is_empty() { "ai.onnx" } else { domain };
                let message = format!("operator set {} is not imported", quoted(shown));
                self.findings
                    .malformed("opset-not-imported", place, message);
            }
        }
    }

    fn operator(
        &mut self,
        node: &'m NodeProto,
        opset: i64,
        surroundings: &Surroundings<'_, 'm>,
        place: &Place<'_>,
    ) {
        let (domain, name) = (node.domain(), node.op_type());
        let version = u64::try_from(opset).unwrap_or(0);
        let why = match operators::find(domain, name, version) {
            Some(operator) if operator.deprecated => Unusable::Withdrawn(operator.since_version),
            Some(operator) => return self.schema(node, operator, place),
            None if operators::opsets(domain).is_none() => {
                match surroundings.functions.callee(node) {
                    Some(callee) => return self.call(node, callee, place),
                    None => Unusable::Custom,
                }
            }
            None => match operators::versions(domain, name).first() {
                Some(first) => Unusable::NotYet(first.since_version),
                None => Unusable::Unknown,
            },
        };
        let operator = UnusableOperator {
            domain: operators::canonical_domain(domain).to_owned(),
            name: name.to_owned(),
            opset,
            why,
        };
        self.findings.operator(operator, place);
    }

    /// Numbers of inputs and outputs, and attributes.
    fn schema(&mut self, node: &NodeProto, operator: &Operator, place: &Place<'_>) {
        self.arity("inputs", &node.input, &operator.inputs, place);
        self.arity("outputs", &node.output, &operator.outputs, place);
        for attribute in &node.attribute {
            self.declared(attribute, operator, place);
        }
        for declared in operator
            .attributes
            .iter()
            .filter(|declared| declared.required)
        {
            let mut present = node.attribute.iter().map(|attribute| attribute.name());
            if !present.any(|name| name == declared.name) {
                let message = format!("attribute '{}' is missing", declared.name);
                self.findings.malformed("attribute-missing", place, message);
            }
        }
    }

    fn arity(&mut self, what: &str, names: &[String], expected: &Signature, place: &Place<'_>) {
        if !expected.allows(names.len()) {
            let message = format!(
                "the node has {} {what}, its operator takes {}",
                names.len(),
                expected.counts()
            );
            self.findings.malformed("arity", place, message);
        }
        for (parameter, name) in expected.parameters.iter().zip(names) {
            if name.is_empty() && parameter.presence == Presence::Single {
                let message = format!("'{}' of its {what} may not be left out", parameter.name);
                self.findings.malformed("parameter-missing", place, message);
            }
        }
    }

    fn declared(&mut self, attribute: &AttributeProto, operator: &Operator, place: &Place<'_>) {
        let name = attribute.name();
        let Some(declared) = operator.attribute(name) else {
            // Two underscores mark an implementation's own notes.
            if !operator.undeclared_attributes && !name.starts_with("__") {
                let message = format!(
                    "operator {} (version {}) has no attribute {}",
                    operator.name,
                    operator.since_version,
                    quoted(name)
                );
                self.findings.malformed("attribute-unknown", place, message);
            }
            return;
        };
        let found = AttributeType::try_from(attribute.r#type.unwrap_or(0));
        // Before IR version 2 an attribute's field alone tells its type.
        if found != Ok(declared.kind) && !(self.ir < 2 && attribute.r#type.is_none()) {
            let message = format!(
                "attribute {} is of another type than its operator declares: expected {:?}, found {}",
                quoted(name),
                declared.kind,
                found.map_or_else(|_| "an unknown one".to_owned(), |kind| format!("{kind:?}")),
            );
            self.findings.malformed("attribute-type", place, message);
        }
    }
}
