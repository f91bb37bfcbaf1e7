//! Operators whose form depends on the opset, and the patterns that exporters share.

use super::{Attribute, GraphBuilder, Value};
use crate::Dtype;

/// A reduction of a tensor over some of its axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The arithmetic mean.
    Mean,
    /// The largest element.
    Max,
}

impl GraphBuilder {
    /// An elementwise operator of two inputs that broadcast: `Add`, `Sub`, `Mul`, `Div`, `Max`, `Equal`...
    pub fn binary(&mut self, operator: &str, a: &Value, b: &Value) -> Value {
        self.node(operator, &[a, b], &[])
    }

    /// An operator of one input without attributes: `Relu`, `Tanh`, `Sqrt`, `Shape`...
    pub fn unary(&mut self, operator: &str, x: &Value) -> Value {
        self.node(operator, &[x], &[])
    }

    /// `x` as `dtype`.
    pub fn cast(&mut self, x: &Value, dtype: Dtype) -> Value {
        self.node(
            "Cast",
            &[x],
            &[("to", Attribute::Int(dtype.to_onnx().into()))],
        )
    }

    /// A PyTorch linear layer on a matrix: `x` times the transpose of `weight`, plus `bias`.
    pub fn linear(&mut self, x: &Value, weight: &Value, bias: &Value) -> Value {
        self.node("Gemm", &[x, weight, bias], &[("transB", Attribute::Int(1))])
    }

    /// `x` with its axes in the order of `permutation`.
    pub fn transpose(&mut self, x: &Value, permutation: &[i64]) -> Value {
        self.node(
            "Transpose",
            &[x],
            &[("perm", Attribute::Ints(permutation.to_vec()))],
        )
    }

    /// `x` in another shape; 0 keeps the dimension at that position, -1 takes what is left.
    pub fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.int64s(shape);
        self.node("Reshape", &[x, &shape], &[])
    }

    /// The softmax over the last axis.
    pub fn softmax(&mut self, x: &Value) -> Value {
        self.node("Softmax", &[x], &[("axis", Attribute::Int(-1))])
    }

    /// A reduction over `axes`, which stay as size 1 when `keep`. (Axes are an input from opset 13
    /// for sums and from 18 for the others.)
    pub fn reduce(&mut self, reduction: Reduction, x: &Value, axes: &[i64], keep: bool) -> Value {
        let (operator, axes_as_input) = match reduction {
            Reduction::Sum => ("ReduceSum", 13),
            Reduction::Mean => ("ReduceMean", 18),
            Reduction::Max => ("ReduceMax", 18),
        };
        let keep = ("keepdims", Attribute::Int(keep.into()));
        self.with_axes(operator, x, axes, axes_as_input, &[keep])
    }

    /// `x` with axes of size 1 inserted at `axes`. (Axes are an input from opset 13.)
    pub fn unsqueeze(&mut self, x: &Value, axes: &[i64]) -> Value {
        self.with_axes("Unsqueeze", x, axes, 13, &[])
    }

    /// `x` without the axes of size 1 at `axes`. (Axes are an input from opset 13.)
    pub fn squeeze(&mut self, x: &Value, axes: &[i64]) -> Value {
        self.with_axes("Squeeze", x, axes, 13, &[])
    }

    fn with_axes(
        &mut self,
        operator: &str,
        x: &Value,
        axes: &[i64],
        input_from: u64,
        attributes: &[(&str, Attribute)],
    ) -> Value {
        if self.opset() >= input_from {
            let axes = self.int64s(axes);
            return self.node(operator, &[x, &axes], attributes);
        }
        let mut attributes = attributes.to_vec();
        attributes.push(("axes", Attribute::Ints(axes.to_vec())));
        self.node(operator, &[x], &attributes)
    }

    /// `x` cut along `axis` into pieces of the given sizes. (Sizes are an input from opset 13.)
    pub fn split<const N: usize>(&mut self, x: &Value, axis: i64, sizes: [i64; N]) -> [Value; N] {
        let axis = ("axis", Attribute::Int(axis));
        if self.opset() >= 13 {
            let sizes = self.int64s(&sizes);
            return self.node_with_outputs("Split", &[x, &sizes], &[axis]);
        }
        let sizes = ("split", Attribute::Ints(sizes.to_vec()));
        self.node_with_outputs("Split", &[x], &[axis, sizes])
    }

    /// The first rows of `table`, as many as `x` has along `axis`.
    pub fn rows_for(&mut self, table: &Value, x: &Value, axis: i64) -> Value {
        let shape = self.unary("Shape", x);
        let axis = self.int64s(&[axis]);
        let rows = self.node("Gather", &[&shape, &axis], &[("axis", Attribute::Int(0))]);
        let zero = self.int64s(&[0]);
        self.node("Slice", &[table, &zero, &rows, &zero], &[])
    }

    /// Layer normalization over the last axis (Ba et al. 2016): one node from opset 17, before that
    /// its parts.
    pub fn layer_norm(&mut self, x: &Value, weight: &Value, bias: &Value, epsilon: f32) -> Value {
        if self.opset() >= 17 {
            let attributes = [
                ("axis", Attribute::Int(-1)),
                ("epsilon", Attribute::Float(epsilon)),
            ];
            return self.node("LayerNormalization", &[x, weight, bias], &attributes);
        }
        let mean = self.reduce(Reduction::Mean, x, &[-1], true);
        let centered = self.binary("Sub", x, &mean);
        let deviation = self.root_mean_square(&centered, epsilon);
        let normalized = self.binary("Div", &centered, &deviation);
        let scaled = self.binary("Mul", &normalized, weight);
        self.binary("Add", &scaled, bias)
    }

    /// Root mean square normalization over the last axis (Zhang and Sennrich 2019).
    pub fn rms_norm(&mut self, x: &Value, weight: &Value, epsilon: f32) -> Value {
        let root = self.root_mean_square(x, epsilon);
        let one = self.scalar(1.0);
        // The form that PyTorch's exporter gives `rsqrt`: the one pattern that every engine fuses.
        let inverse = self.binary("Div", &one, &root);
        let normalized = self.binary("Mul", x, &inverse);
        self.binary("Mul", &normalized, weight)
    }

    fn root_mean_square(&mut self, x: &Value, epsilon: f32) -> Value {
        let two = self.scalar(2.0);
        let epsilon = self.scalar(epsilon);
        let squared = self.binary("Pow", x, &two);
        let mean = self.reduce(Reduction::Mean, &squared, &[-1], true);
        let shifted = self.binary("Add", &mean, &epsilon);
        self.unary("Sqrt", &shifted)
    }

    /// The exact Gaussian error linear unit, `x * (1 + erf(x / sqrt(2))) / 2` (Hendrycks and Gimpel 2016).
    pub fn gelu(&mut self, x: &Value) -> Value {
        let root = self.scalar(std::f32::consts::SQRT_2);
        let one = self.scalar(1.0);
        let half = self.scalar(0.5);
        let scaled = self.binary("Div", x, &root);
        let erf = self.unary("Erf", &scaled);
        let shifted = self.binary("Add", &erf, &one);
        let product = self.binary("Mul", x, &shifted);
        self.binary("Mul", &product, &half)
    }

    /// The Gaussian error linear unit with a hyperbolic tangent in place of the error function,
    /// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2` (Hendrycks and Gimpel 2016).
    pub fn gelu_tanh(&mut self, x: &Value) -> Value {
        let root = self.scalar((2.0 * std::f64::consts::FRAC_1_PI).sqrt() as f32);
        let (half, one, three) = (self.scalar(0.5), self.scalar(1.0), self.scalar(3.0));
        let weight = self.scalar(0.044_715);
        let halved = self.binary("Mul", x, &half);
        let cube = self.binary("Pow", x, &three);
        let cube = self.binary("Mul", &cube, &weight);
        let sum = self.binary("Add", x, &cube);
        let scaled = self.binary("Mul", &sum, &root);
        let bent = self.unary("Tanh", &scaled);
        let shifted = self.binary("Add", &bent, &one);
        self.binary("Mul", &halved, &shifted)
    }

    /// The sigmoid linear unit, `x * sigmoid(x)`.
    pub fn silu(&mut self, x: &Value) -> Value {
        let sigmoid = self.unary("Sigmoid", x);
        self.binary("Mul", x, &sigmoid)
    }
}
