//! One node, seen by the rule of its operator.

use std::sync::Arc;

use super::value::{Fault, Scalar, Size, Value};
use crate::Dtype;
use crate::operators::Operator;
use crate::proto::{AttributeProto, NodeProto};

/// The outputs that a rule found, in order; outputs it says nothing of are left out at the end.
pub(super) type Outcome = Result<Vec<Value>, Fault>;

/// A node with what is known of its inputs.
pub(super) struct Call<'c> {
    pub(super) node: &'c NodeProto,
    pub(super) operator: &'static Operator,
    pub(super) inputs: Vec<Value>,
}

static NOTHING: Value = Value {
    dtype: None,
    shape: None,
    data: None,
};

impl<'c> Call<'c> {
    /// What is known of an input; nothing when it is left out.
    pub(super) fn input(&self, index: usize) -> &Value {
        self.inputs.get(index).unwrap_or(&NOTHING)
    }

    /// Whether an input is given.
    pub(super) fn has(&self, index: usize) -> bool {
        self.node
            .input
            .get(index)
            .is_some_and(|name| !name.is_empty())
    }

    pub(super) fn shape(&self, index: usize) -> Option<&[Size]> {
        self.input(index).shape.as_deref()
    }

    pub(super) fn data(&self, index: usize) -> Option<&[Scalar]> {
        self.input(index).data.as_deref()
    }

    /// The elements of an input when all of them are known.
    pub(super) fn known(&self, index: usize) -> Option<Vec<i64>> {
        self.data(index)?.iter().map(Scalar::known).collect()
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'c AttributeProto> {
        self.node
            .attribute
            .iter()
            .find(|attribute| attribute.name() == name)
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(|attribute| attribute.i())
    }

    pub(super) fn ints(&self, name: &str) -> Option<&'c [i64]> {
        self.attribute(name)
            .map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn text(&self, name: &str) -> Option<&'c [u8]> {
        self.attribute(name)
            .and_then(|attribute| attribute.s.as_deref())
    }

    pub(super) fn dtype(&self, name: &str) -> Option<Dtype> {
        let number = i32::try_from(self.int(name)?).ok()?;
        Dtype::from_onnx(number).ok()
    }

    /// Numbers that older versions carry in an attribute and newer ones in an input: `None` when they
    /// are not given, `Some(None)` when they are not known.
    #[expect(
        clippy::option_option,
        reason = "left out and unknown are different things"
    )]
    pub(super) fn numbers(&self, attribute: &str, input: usize) -> Option<Option<Vec<i64>>> {
        match self.ints(attribute) {
            Some(numbers) => Some(Some(numbers.to_vec())),
            None if self.has(input) => Some(self.known(input)),
            None => None,
        }
    }

    /// A shape given by the elements of an input, unknown entries included; negative ones fail.
    pub(super) fn shape_data(&self, index: usize) -> Result<Option<Vec<Size>>, Fault> {
        if let Some(data) = self.data(index) {
            let sizes: Option<Vec<Size>> = data.iter().map(Scalar::to_size).collect();
            return sizes
                .map(Some)
                .ok_or_else(|| "a dimension is negative".to_owned());
        }
        // The length of a shape is the rank, even if nothing else is known.
        Ok(match self.shape(index) {
            Some([Size::Fixed(rank)]) if *rank <= 64 => {
                Some(vec![Size::Unknown; usize::try_from(*rank).unwrap_or(0)])
            }
            _ => None,
        })
    }
}

/// One output of this shape.
pub(super) fn shaped(shape: Vec<Size>) -> Outcome {
    Ok(vec![Value::shaped(shape)])
}

/// One output of which only the dtype may be known.
pub(super) fn unknown() -> Outcome {
    Ok(Vec::new())
}

/// One output of this shape that holds these elements.
pub(super) fn holding(shape: Vec<Size>, data: Option<Vec<Scalar>>) -> Outcome {
    Ok(vec![Value {
        dtype: None,
        shape: Some(shape.into()),
        data: data.map(Arc::from),
    }])
}
