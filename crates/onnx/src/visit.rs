//! One walk over a model that finds every node and every tensor, wherever it hides.
//!
//! Tensors live in initializers, in the values and indices of sparse tensors and in attributes, and
//! all of these in the main graph, in sub-graphs of attributes, in functions, in the default
//! attributes of functions and in training information. Everything that must hold for *all* tensors
//! (sizes, external data, counting, rewriting) goes through here.
//!
//! ```
//! use amphora_onnx::proto::{GraphProto, ModelProto, TensorProto};
//! use amphora_onnx::visit;
//!
//! let weight = TensorProto { name: Some("w".into()), ..Default::default() };
//! let graph = GraphProto { name: Some("g".into()), initializer: vec![weight], ..Default::default() };
//! let model = ModelProto { graph: Some(graph), ..Default::default() };
//! let mut found = Vec::new();
//! visit::tensors(&model, &mut |place, _role, tensor| {
//!     found.push(place.of_tensor(tensor.name()));
//!     Ok(())
//! })?;
//! assert_eq!(found, ["graph 'g', initializer 'w'"]);
//! # Ok::<(), amphora_error::Error>(())
//! ```

use std::fmt;

use amphora_error::{Error, Result, quoted};

use crate::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto,
    TensorProto,
};

/// Deepest nesting of graphs that is walked. A decoded file cannot reach it (33 sub-graphs fill the
/// decoder's 100 levels); a model built in memory could.
const DEEPEST: usize = 100;
const INITIALIZER: &str = "initializer";

/// What a tensor is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// An initializer of a graph.
    Initializer,
    /// The stored values of a sparse initializer.
    SparseValues,
    /// The positions of the stored values of a sparse initializer.
    SparseIndices,
    /// The value of an attribute, for example of `Constant`, or a part of one that is sparse.
    Attribute,
}

/// Where something is inside a model; displays as `graph 'g', node 'n' (Add), attribute 'value'`.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
    depth: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    Model,
    Graph(&'a str),
    Function(&'a str),
    Training,
    Node {
        index: usize,
        name: &'a str,
        operator: &'a str,
    },
    Attribute(&'a str),
    Tensor(&'static str),
}

impl<'a> Place<'a> {
    pub(crate) const MODEL: Place<'static> = Place {
        parent: None,
        step: Step::Model,
        depth: 0,
    };

    pub(crate) fn step(&'a self, step: Step<'a>) -> Place<'a> {
        Place {
            parent: Some(self),
            step,
            depth: self.depth + usize::from(matches!(step, Step::Graph(_))),
        }
    }

    /// This place with the name of the tensor in it.
    pub fn of_tensor(&self, name: &str) -> String {
        match self.step {
            Step::Tensor(INITIALIZER) => format!("{self} {}", quoted(name)),
            _ if name.is_empty() => self.to_string(),
            _ => format!("{self}, tensor {}", quoted(name)),
        }
    }
}

/// How many steps of a deep place are shown at its beginning and at its end.
const SHOWN: (usize, usize) = (2, 6);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = std::iter::successors(Some(self), |place| place.parent);
        let mut steps: Vec<_> = chain.map(|place| place.step).collect();
        if steps.len() > 1 {
            // The model itself goes without saying.
            steps.pop();
        }
        steps.reverse();
        let (first, last) = SHOWN;
        for (index, step) in steps.iter().enumerate() {
            let hidden = steps.len().saturating_sub(first + last);
            match index.checked_sub(first) {
                Some(0) if hidden > 0 => f.write_str(", ...")?,
                Some(beyond) if beyond < hidden => {}
                _ if index == 0 => write!(f, "{step}")?,
                _ => write!(f, ", {step}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Model => f.write_str("model"),
            Step::Graph(name) => write!(f, "graph {}", quoted(name)),
            Step::Function(name) => write!(f, "function {}", quoted(name)),
            Step::Training => f.write_str("training information"),
            Step::Node {
                index,
                name: "",
                operator,
            } => {
                write!(f, "node {index} ({})", Operator(operator))
            }
            Step::Node { name, operator, .. } => {
                write!(f, "node {} ({})", quoted(name), Operator(operator))
            }
            Step::Attribute(name) => write!(f, "attribute {}", quoted(name)),
            Step::Tensor(what) => f.write_str(what),
        }
    }
}

/// The name of an operator: as it is when it is plain, else quoted.
struct Operator<'a>(&'a str);

impl fmt::Display for Operator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.0.len() <= 64 && self.0.chars().all(|c| c.is_alphanumeric() || c == '_');
        if plain {
            f.write_str(self.0)
        } else {
            write!(f, "{}", quoted(self.0))
        }
    }
}

fn too_deep(place: &Place<'_>) -> Error {
    // The whole chain of a hundred places would not help a reader.
    Error::limit(
        "nesting",
        "the model has too many graphs inside one another",
    )
    .expected(format!("at most {DEEPEST}"))
    .found(format!("{} at least", place.depth))
}

/// Something met on the walk.
#[derive(Debug, Clone, Copy)]
pub enum Item<'m> {
    /// A node of a graph or function.
    Node(&'m NodeProto),
    /// A tensor and what it is used for.
    Tensor(Role, &'m TensorProto),
    /// A sparse tensor; its values and indices follow as tensors.
    Sparse(&'m SparseTensorProto),
}

/// Visits every node, tensor and sparse tensor of a model, and stops at the first error.
///
/// # Errors
///
/// Those of `visit`, and [`amphora_error::ErrorKind::Limit`] when more than a hundred graphs lie
/// inside one another.
pub fn items<'m>(
    model: &'m ModelProto,
    visit: &mut dyn FnMut(&Place<'_>, Item<'m>) -> Result<()>,
) -> Result<()> {
    shared::model(model, visit)
}

/// Visits every tensor of a model.
///
/// # Errors
///
/// As [`items`].
pub fn tensors<'m>(
    model: &'m ModelProto,
    visit: &mut dyn FnMut(&Place<'_>, Role, &'m TensorProto) -> Result<()>,
) -> Result<()> {
    items(model, &mut |place, item| match item {
        Item::Tensor(role, tensor) => visit(place, role, tensor),
        Item::Node(_) | Item::Sparse(_) => Ok(()),
    })
}

/// Visits every tensor of a model, to change it.
///
/// # Errors
///
/// As [`items`].
pub fn tensors_mut(
    model: &mut ModelProto,
    visit: &mut dyn FnMut(&Place<'_>, Role, &mut TensorProto) -> Result<()>,
) -> Result<()> {
    exclusive::model(model, visit)
}

/// The walk itself, for shared and for exclusive references.
macro_rules! walk {
    ($($mutable:tt)?) => {
        pub(super) fn model<'m>(model: &'m $($mutable)? ModelProto, visit: Visit<'_, 'm>) -> Result<()> {
            let place = Place::MODEL;
            if let Some(main) = & $($mutable)? model.graph {
                graph(main, &place, visit)?;
            }
            for body in & $($mutable)? model.functions {
                function(body, &place, visit)?;
            }
            let place = place.step(Step::Training);
            for info in & $($mutable)? model.training_info {
                if let Some(inner) = & $($mutable)? info.initialization {
                    graph(inner, &place, visit)?;
                }
                if let Some(inner) = & $($mutable)? info.algorithm {
                    graph(inner, &place, visit)?;
                }
            }
            Ok(())
        }

        fn graph<'m>(
            graph: &'m $($mutable)? GraphProto,
            outer: &Place<'_>,
            visit: Visit<'_, 'm>,
        ) -> Result<()> {
            let place = outer.step(Step::Graph(graph.name.as_deref().unwrap_or("")));
            if place.depth > DEEPEST {
                return Err(too_deep(&place));
            }
            let at = place.step(Step::Tensor(INITIALIZER));
            for inner in & $($mutable)? graph.initializer {
                tensor(Role::Initializer, inner, &at, visit)?;
            }
            for inner in & $($mutable)? graph.sparse_initializer {
                sparse([Role::SparseValues, Role::SparseIndices], inner, &place, visit)?;
            }
            nodes(& $($mutable)? graph.node, &place, visit)
        }

        fn function<'m>(
            function: &'m $($mutable)? FunctionProto,
            outer: &Place<'_>,
            visit: Visit<'_, 'm>,
        ) -> Result<()> {
            let place = outer.step(Step::Function(function.name.as_deref().unwrap_or("")));
            for default in & $($mutable)? function.attribute_proto {
                attribute(default, &place, visit)?;
            }
            nodes(& $($mutable)? function.node, &place, visit)
        }

        fn nodes<'m>(
            nodes: &'m $($mutable)? [NodeProto],
            outer: &Place<'_>,
            visit: Visit<'_, 'm>,
        ) -> Result<()> {
            for (index, inner) in nodes.into_iter().enumerate() {
                let place = outer.step(Step::Node {
                    index,
                    name: inner.name.as_deref().unwrap_or(""),
                    operator: inner.op_type.as_deref().unwrap_or(""),
                });
                node(inner, &place, visit)?;
                for held in & $($mutable)? inner.attribute {
                    attribute(held, &place, visit)?;
                }
            }
            Ok(())
        }

        fn attribute<'m>(
            attribute: &'m $($mutable)? AttributeProto,
            outer: &Place<'_>,
            visit: Visit<'_, 'm>,
        ) -> Result<()> {
            let place = outer.step(Step::Attribute(attribute.name.as_deref().unwrap_or("")));
            let at = place.step(Step::Tensor("value"));
            if let Some(inner) = & $($mutable)? attribute.t {
                tensor(Role::Attribute, inner, &at, visit)?;
            }
            for inner in & $($mutable)? attribute.tensors {
                tensor(Role::Attribute, inner, &at, visit)?;
            }
            if let Some(inner) = & $($mutable)? attribute.sparse_tensor {
                sparse([Role::Attribute; 2], inner, &place, visit)?;
            }
            for inner in & $($mutable)? attribute.sparse_tensors {
                sparse([Role::Attribute; 2], inner, &place, visit)?;
            }
            if let Some(inner) = & $($mutable)? attribute.g {
                graph(inner, &place, visit)?;
            }
            for inner in & $($mutable)? attribute.graphs {
                graph(inner, &place, visit)?;
            }
            Ok(())
        }

        fn sparse<'m>(
            [of_values, of_indices]: [Role; 2],
            pair: &'m $($mutable)? SparseTensorProto,
            place: &Place<'_>,
            visit: Visit<'_, 'm>,
        ) -> Result<()> {
            sparse_pair(pair, place, visit)?;
            if let Some(values) = & $($mutable)? pair.values {
                let at = place.step(Step::Tensor("sparse values"));
                tensor(of_values, values, &at, visit)?;
            }
            if let Some(indices) = & $($mutable)? pair.indices {
                let at = place.step(Step::Tensor("sparse indices"));
                tensor(of_indices, indices, &at, visit)?;
            }
            Ok(())
        }
    };
}

mod shared {
    use super::*;

    type Visit<'v, 'm> = &'v mut dyn FnMut(&Place<'_>, Item<'m>) -> Result<()>;

    fn node<'m>(node: &'m NodeProto, place: &Place<'_>, visit: Visit<'_, 'm>) -> Result<()> {
        visit(place, Item::Node(node))
    }

    fn tensor<'m>(
        role: Role,
        tensor: &'m TensorProto,
        place: &Place<'_>,
        visit: Visit<'_, 'm>,
    ) -> Result<()> {
        visit(place, Item::Tensor(role, tensor))
    }

    fn sparse_pair<'m>(
        pair: &'m SparseTensorProto,
        place: &Place<'_>,
        visit: Visit<'_, 'm>,
    ) -> Result<()> {
        visit(place, Item::Sparse(pair))
    }

    walk!();
}

mod exclusive {
    use super::*;

    type Visit<'v, 'm> = &'v mut dyn FnMut(&Place<'_>, Role, &'m mut TensorProto) -> Result<()>;

    fn node(_: &NodeProto, _: &Place<'_>, _: Visit<'_, '_>) -> Result<()> {
        Ok(())
    }

    fn tensor<'m>(
        role: Role,
        tensor: &'m mut TensorProto,
        place: &Place<'_>,
        visit: Visit<'_, 'm>,
    ) -> Result<()> {
        visit(place, role, tensor)
    }

    fn sparse_pair(_: &SparseTensorProto, _: &Place<'_>, _: Visit<'_, '_>) -> Result<()> {
        Ok(())
    }

    walk!(mut);
}
