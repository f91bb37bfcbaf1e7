//! Operators that run a graph of their own.

use super::call::Call;
use super::value::{Size, Value};
use super::{Inference, Known};
use crate::Dtype;
use crate::proto::{GraphProto, NodeProto};
use crate::visit::{Place, Step};

impl<'m> Inference<'m, '_> {
    /// What is known of the outputs of `If` and `Loop`.
    pub(super) fn subgraphs(
        &mut self,
        call: &Call<'m>,
        known: &Known<'_, 'm>,
        place: &Place<'_>,
    ) -> Vec<Value> {
        let certain = std::mem::replace(&mut self.certain, false);
        let outputs = match call.operator.name {
            "If" => {
                let yes = self.results(call.node, "then_branch", known, &[], place);
                let no = self.results(call.node, "else_branch", known, &[], place);
                yes.iter()
                    .zip(&no)
                    .map(|(yes, no)| yes.either(no))
                    .collect()
            }
            _ => self.repeat(call, known, place),
        };
        self.certain = certain;
        outputs
    }

    /// `Loop`: values carried from step to step, then values gathered along a new first dimension.
    fn repeat(&mut self, call: &Call<'m>, known: &Known<'_, 'm>, place: &Place<'_>) -> Vec<Value> {
        let mut bound = vec![
            Value::of(Some(Dtype::Int64), Some(Vec::new())),
            Value::of(Some(Dtype::Bool), Some(Vec::new())),
        ];
        // The shape of a carried value may change from step to step.
        let carried = call.inputs.iter().skip(2);
        bound.extend(carried.map(|value| Value::of(value.dtype, None)));
        let carried = bound.len() - 2;
        let results = self.results(call.node, "body", known, &bound, place);
        let outputs = results
            .into_iter()
            .skip(1)
            .enumerate()
            .map(|(index, value)| {
                let shape = match &value.shape {
                    Some(shape) if index >= carried => {
                        Some([&[Size::Unknown], &shape[..]].concat())
                    }
                    _ => None,
                };
                Value::of(value.dtype, shape)
            });
        outputs.collect()
    }

    /// What is known of the outputs of a sub-graph.
    fn results(
        &mut self,
        node: &'m NodeProto,
        attribute: &str,
        known: &Known<'_, 'm>,
        bound: &[Value],
        place: &Place<'_>,
    ) -> Vec<Value> {
        let at = place.step(Step::Attribute(attribute));
        let found = node
            .attribute
            .iter()
            .find(|found| found.name() == attribute);
        let Some(graph): Option<&'m GraphProto> = found.and_then(|found| found.g.as_deref()) else {
            return Vec::new();
        };
        let inner = self.graph(graph, known, bound, &at);
        graph
            .output
            .iter()
            .map(|output| inner.get(output.name()))
            .collect()
    }
}
