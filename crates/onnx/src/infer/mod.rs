//! Dtypes and shapes of all values of a graph, from its inputs on.
//!
//! Symbolic dimensions keep their names as long as a size is provably the same; what is not provable
//! stays unknown. Small integer tensors are followed element by element, so that the arithmetic of
//! `Shape`, `Gather`, `Concat`, `Reshape` gives shapes; nothing larger is ever computed.

mod call;
mod convolution;
mod creation;
mod elementwise;
mod layout;
mod linear;
mod reduction;
mod rules;
mod selection;
mod subgraph;
mod value;

use std::collections::{BTreeMap, HashMap};

use amphora_error::{ErrorKind, Result, quoted};

use crate::check::Findings;
use crate::operators::{self, Operator, Presence};
use crate::proto::{GraphProto, ModelProto, NodeProto};
use crate::visit::{Place, Step};
use crate::{Dim, Dtype, Finding, Model};
use call::Call;
use value::{Scalar, Value};

/// Most elements of a tensor whose elements are followed; longer ones are no shapes.
const MOST_ELEMENTS: usize = 1024;

/// What is known of the values of a model's main graph; made by [`Model::infer_shapes`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShapeTable {
    /// Inputs, initializers, outputs of nodes, by name.
    pub values: BTreeMap<String, InferredTensor>,
    /// Where operands do not fit together, or a declared type is not the inferred one.
    pub contradictions: Vec<Finding>,
}

/// What is known of one value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InferredTensor {
    /// The element type.
    pub dtype: Option<Dtype>,
    /// The dimensions, outermost first; absent when even the rank is unknown.
    pub shape: Option<Vec<Dim>>,
}

impl Model {
    /// Infers dtype and shape of every value of the main graph, as far as they are certain.
    ///
    /// # Errors
    ///
    /// Those of [`Model::check`], but for contradictions between shapes, which the table lists.
    pub fn infer_shapes(&self) -> Result<ShapeTable> {
        self.check_structure().into_report().into_result()?;
        let mut findings = Findings::default();
        let values = infer(self, &mut findings);
        let values = values.into_iter().map(|(name, value)| {
            let shape = value
                .shape
                .map(|shape| shape.iter().map(value::Size::to_dim).collect());
            (
                name.to_owned(),
                InferredTensor {
                    dtype: value.dtype,
                    shape,
                },
            )
        });
        Ok(ShapeTable {
            values: values.collect(),
            contradictions: findings.into_report().errors,
        })
    }
}

/// Adds what shapes contradict each other in a model whose structure was found sound.
pub(crate) fn contradictions(model: &Model, findings: &mut Findings) {
    infer(model, findings);
}

/// The values of the main graph of a model whose structure was found sound.
fn infer<'m>(model: &'m Model, findings: &mut Findings) -> HashMap<&'m str, Value> {
    let proto = model.proto();
    let Some(graph) = &proto.graph else {
        return HashMap::new();
    };
    let mut inference = Inference {
        model,
        opsets: opsets(proto),
        findings,
        budget: model.limits().folded_bytes,
        certain: true,
    };
    inference
        .graph(graph, &Known::default(), &[], &Place::MODEL)
        .values
}

fn opsets(proto: &ModelProto) -> HashMap<&str, u64> {
    if proto.opset_import.is_empty() {
        return HashMap::from([("", 1)]);
    }
    let imports = proto.opset_import.iter();
    let imports = imports.map(|import| {
        let version = u64::try_from(import.version()).unwrap_or(0);
        (operators::canonical_domain(import.domain()), version)
    });
    imports.collect()
}

struct Inference<'m, 'f> {
    model: &'m Model,
    opsets: HashMap<&'m str, u64>,
    findings: &'f mut Findings,
    /// Bytes that shapes and elements may still take.
    budget: u64,
    /// False inside a sub-graph, which may never run.
    certain: bool,
}

/// What is known of the values of a graph and of those around it.
#[derive(Default)]
struct Known<'s, 'm> {
    values: HashMap<&'m str, Value>,
    outer: Option<&'s Known<'s, 'm>>,
}

impl Known<'_, '_> {
    fn get(&self, name: &str) -> Value {
        let mut known = Some(self);
        while let Some(current) = known {
            if let Some(value) = current.values.get(name) {
                return value.clone();
            }
            known = current.outer;
        }
        Value::default()
    }
}

impl<'m> Inference<'m, '_> {
    /// Infers a graph whose inputs are `bound` to values as far as given.
    fn graph<'s>(
        &mut self,
        graph: &'m GraphProto,
        outer: &'s Known<'s, 'm>,
        bound: &[Value],
        parent: &Place<'_>,
    ) -> Known<'s, 'm> {
        let place = parent.step(Step::Graph(graph.name()));
        let mut known = Known {
            values: HashMap::new(),
            outer: Some(outer),
        };
        for (index, input) in graph.input.iter().enumerate() {
            let declared = input
                .r#type
                .as_ref()
                .and_then(Value::declared)
                .unwrap_or_default();
            let value = bound.get(index).cloned().unwrap_or_default();
            let value = self.unify(value, &declared, input.name(), &place);
            self.insert(&mut known, input.name(), value);
        }
        let overridable = self.model.proto().ir_version() > 3;
        for tensor in &graph.initializer {
            let mut value = creation::constant(self.model, tensor);
            if overridable && known.values.contains_key(tensor.name()) {
                // A caller may give another value, and its declared dimensions hold for both.
                continue;
            }
            value = match known.values.get(tensor.name()) {
                Some(input) => value.unify(input).0,
                None => value,
            };
            self.insert(&mut known, tensor.name(), value);
        }
        let declared: HashMap<&str, Value> = graph
            .value_info
            .iter()
            .chain(&graph.output)
            .filter_map(|info| Some((info.name(), Value::declared(info.r#type.as_ref()?)?)))
            .collect();
        for (index, node) in graph.node.iter().enumerate() {
            let at = place.step(Step::Node {
                index,
                name: node.name(),
                operator: node.op_type(),
            });
            let mut outputs = self.node(node, &known, &at).into_iter();
            for name in &node.output {
                let mut value = outputs.next().unwrap_or_default();
                if name.is_empty() {
                    continue;
                }
                if let Some(declared) = declared.get(name.as_str()) {
                    value = self.unify(value, declared, name, &at);
                }
                self.insert(&mut known, name, value);
            }
        }
        known
    }

    /// What is known of the outputs of a node.
    fn node(
        &mut self,
        node: &'m NodeProto,
        known: &Known<'_, 'm>,
        place: &Place<'_>,
    ) -> Vec<Value> {
        let domain = operators::canonical_domain(node.domain());
        let opset = self.opsets.get(domain).copied().unwrap_or(0);
        let Some(operator) = operators::find(domain, node.op_type(), opset) else {
            return Vec::new();
        };
        let inputs: Vec<Value> = node
            .input
            .iter()
            .map(|name| {
                if name.is_empty() {
                    Value::default()
                } else {
                    known.get(name)
                }
            })
            .collect();
        let call = Call {
            node,
            operator,
            inputs,
        };
        let types = self.types(&call, place);
        let outcome = match (domain, operator.name) {
            ("", "If" | "Loop") => Ok(self.subgraphs(&call, known, place)),
            ("", _) => rules::apply(&call, self.model),
            _ => Ok(Vec::new()),
        };
        let mut outputs = outcome.unwrap_or_else(|fault| {
            self.contradiction("shape-mismatch", place, fault);
            Vec::new()
        });
        outputs.resize(node.output.len(), Value::default());
        for (index, output) in outputs.iter_mut().enumerate() {
            output.dtype = output
                .dtype
                .or_else(|| result_type(operator, index, &types));
        }
        outputs
    }

    /// The dtype of each type variable of an operator.
    fn types(&mut self, call: &Call<'_>, place: &Place<'_>) -> HashMap<&'static str, Dtype> {
        let mut types = HashMap::new();
        for (index, input) in call.inputs.iter().enumerate() {
            let (Some(dtype), Some(parameter)) = (input.dtype, call.operator.inputs.at(index))
            else {
                continue;
            };
            let spelled = spelled(dtype);
            if !parameter.types.contains(&spelled.as_str()) {
                let message = format!(
                    "input {} ('{}') is {dtype}, which the operator does not take",
                    quoted(&call.node.input[index]),
                    parameter.name
                );
                self.contradiction("type-mismatch", place, message);
                continue;
            }
            if parameter.presence == Presence::VariadicMixed {
                continue;
            }
            let bound = *types.entry(parameter.type_variable).or_insert(dtype);
            if bound != dtype {
                let message = format!(
                    "input {} ('{}') is {dtype}, but must be {bound} like the others",
                    quoted(&call.node.input[index]),
                    parameter.name
                );
                self.contradiction("type-mismatch", place, message);
            }
        }
        types
    }

    fn unify(&mut self, value: Value, declared: &Value, name: &str, place: &Place<'_>) -> Value {
        let (value, fault) = value.unify(declared);
        if let Some(fault) = fault {
            let message = format!("value {}: {fault}", quoted(name));
            self.contradiction("shape-contradiction", place, message);
        }
        value
    }

    fn contradiction(&mut self, rule: &'static str, place: &Place<'_>, message: String) {
        match self.certain {
            true => self.findings.malformed(rule, place, message),
            false => self
                .findings
                .warn(ErrorKind::Malformed, rule, place, message),
        }
    }

    /// Remembers a value, as much of it as the budget allows.
    fn insert(&mut self, known: &mut Known<'_, 'm>, name: &'m str, mut value: Value) {
        let small = matches!(value.dtype, Some(Dtype::Int64 | Dtype::Int32 | Dtype::Bool));
        let fits = value.data.as_ref().is_some_and(|data| {
            let elements = value.shape.as_deref().map(value::product);
            elements == Some(value::Size::Fixed(data.len() as u64)) && data.len() <= MOST_ELEMENTS
        });
        if !small || !fits {
            value.data = None;
        }
        if value.dtype == Some(Dtype::Int32) {
            value.data = value
                .data
                .map(|data| data.iter().map(within_32_bits).collect());
        }
        if value
            .rank()
            .is_some_and(|rank| rank > self.model.limits().rank)
        {
            value.shape = None;
        }
        match self.budget.checked_sub(value.cost()) {
            Some(left) => self.budget = left,
            None => value = Value::of(value.dtype, None),
        }
        known.values.insert(name, value);
    }
}

/// An element as it is after arithmetic of 32 bits, which may have wrapped.
fn within_32_bits(scalar: &Scalar) -> Scalar {
    match scalar {
        Scalar::Known(n) if i32::try_from(*n).is_err() => Scalar::Unknown,
        scalar => scalar.clone(),
    }
}

/// The dtype that the schema gives an output.
fn result_type(
    operator: &Operator,
    index: usize,
    types: &HashMap<&'static str, Dtype>,
) -> Option<Dtype> {
    let parameter = operator.outputs.at(index)?;
    if let [only] = parameter.types {
        return Dtype::all().find(|dtype| spelled(*dtype) == *only);
    }
    match parameter.presence {
        Presence::VariadicMixed => None,
        _ => types.get(parameter.type_variable).copied(),
    }
}

/// A tensor type as the schemas spell it.
fn spelled(dtype: Dtype) -> String {
    match dtype {
        Dtype::Float32 => "tensor(float)".to_owned(),
        Dtype::Float64 => "tensor(double)".to_owned(),
        other => format!("tensor({other})"),
    }
}
