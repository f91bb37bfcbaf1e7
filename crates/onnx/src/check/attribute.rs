//! One attribute by itself: its type, its one value, what is inside.

use amphora_error::quoted;

use super::{Checker, Scope, Surroundings};
use crate::proto::{AttributeProto, AttributeType};
use crate::visit::{Place, Step};

impl<'m> Checker<'m> {
    pub(super) fn attribute(
        &mut self,
        attribute: &'m AttributeProto,
        scope: &Scope<'_, 'm>,
        main: bool,
        surroundings: &Surroundings<'_, 'm>,
        place: &Place<'_>,
    ) {
        let name = attribute.name();
        let at = place.step(Step::Attribute(name));
        if name.is_empty() {
            self.findings
                .malformed("attribute-name", place, "an attribute has no name");
        }
        self.value(attribute, main, &at);
        self.reference(attribute, surroundings, &at);
        for pair in attribute
            .sparse_tensor
            .iter()
            .map(AsRef::as_ref)
            .chain(&attribute.sparse_tensors)
        {
            self.sparse(pair, "the sparse tensor", &at);
        }
        for graph in attribute
            .g
            .iter()
            .map(AsRef::as_ref)
            .chain(&attribute.graphs)
        {
            self.graph(graph, scope, false, surroundings, &at);
        }
    }

    /// The type must be given and the field of that type, and no other, be filled.
    fn value(&mut self, attribute: &AttributeProto, main: bool, at: &Place<'_>) {
        use AttributeType as T;
        let kind = match attribute.r#type.map(T::try_from) {
            Some(Ok(T::Undefined)) | None if self.ir < 2 => None,
            Some(Ok(T::Undefined)) | None => {
                self.findings
                    .malformed("attribute-untyped", at, "the attribute has no type");
                None
            }
            Some(Ok(kind)) => Some(kind),
            Some(Err(_)) => {
                let message = "the attribute has a type that does not exist";
                self.findings.malformed("attribute-untyped", at, message);
                None
            }
        };
        let filled = filled(attribute);
        let refers = attribute.ref_attr_name.as_deref();
        match (kind, &filled[..]) {
            (_, [first, second, ..]) => {
                let message = format!("the attribute has several values: {first:?} and {second:?}");
                self.findings.malformed("attribute-values", at, message);
            }
            (Some(kind), [found]) if kind != *found => {
                let message =
                    format!("the attribute says it is {kind:?}, but its value is {found:?}");
                self.findings.malformed("attribute-mismatch", at, message);
            }
            // Zero, the empty string and the empty list are not written.
            (Some(kind @ (T::Tensor | T::Graph | T::SparseTensor | T::TypeProto)), [])
                if refers.is_none_or(str::is_empty) =>
            {
                let message = format!("the attribute says it is {kind:?}, but has no value");
                self.findings.malformed("attribute-empty", at, message);
            }
            _ => {}
        }
        if refers.is_some_and(|name| !main || !name.is_empty()) && !filled.is_empty() {
            let message = "the attribute has a value and refers to the function's attribute, too";
            self.findings.malformed("attribute-values", at, message);
        }
    }

    fn reference(
        &mut self,
        attribute: &AttributeProto,
        surroundings: &Surroundings<'_, 'm>,
        at: &Place<'_>,
    ) {
        let name = attribute.ref_attr_name();
        if name.is_empty() {
            return;
        }
        let message = match surroundings.parameters {
            None => format!(
                "the attribute refers to {} outside of a function",
                quoted(name)
            ),
            Some(declared) if declared.contains(name) => return,
            Some(_) => format!("the function has no attribute {}", quoted(name)),
        };
        self.findings.malformed("attribute-reference", at, message);
    }
}

/// The types of the fields that hold something.
fn filled(attribute: &AttributeProto) -> Vec<AttributeType> {
    use AttributeType as T;
    let fields = [
        (attribute.f.is_some(), T::Float),
        (attribute.i.is_some(), T::Int),
        (attribute.s.is_some(), T::String),
        (attribute.t.is_some(), T::Tensor),
        (attribute.g.is_some(), T::Graph),
        (attribute.tp.is_some(), T::TypeProto),
        (attribute.sparse_tensor.is_some(), T::SparseTensor),
        (!attribute.floats.is_empty(), T::Floats),
        (!attribute.ints.is_empty(), T::Ints),
        (!attribute.strings.is_empty(), T::Strings),
        (!attribute.tensors.is_empty(), T::Tensors),
        (!attribute.graphs.is_empty(), T::Graphs),
        (!attribute.sparse_tensors.is_empty(), T::SparseTensors),
        (!attribute.type_protos.is_empty(), T::TypeProtos),
    ];
    let filled = fields.into_iter().filter(|(filled, _)| *filled);
    filled.map(|(_, kind)| kind).collect()
}
