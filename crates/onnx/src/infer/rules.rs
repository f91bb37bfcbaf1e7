//! Which rule belongs to which operator.

use super::call::{Call, Outcome, unknown};
use super::{convolution, creation, elementwise, layout, linear, reduction, selection};
use crate::Model;

/// What is known of the outputs of a node of the default domain.
pub(super) fn apply(call: &Call<'_>, model: &Model) -> Outcome {
    match call.operator.name {
        "Abs"
        | "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "BitwiseNot"
        | "Ceil"
        | "Celu"
        | "Clip"
        | "Cos"
        | "Cosh"
        | "CumSum"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Floor"
        | "Gelu"
        | "GroupNormalization"
        | "HardSigmoid"
        | "HardSwish"
        | "Hardmax"
        | "InstanceNormalization"
        | "IsInf"
        | "IsNaN"
        | "LRN"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "MeanVarianceNormalization"
        | "Mish"
        | "PRelu"
        | "RMSNormalization"
        | "Reciprocal"
        | "Relu"
        | "RotaryEmbedding"
        | "Round"
        | "Scatter"
        | "ScatterElements"
        | "ScatterND"
        | "Selu"
        | "Shrink"
        | "Sigmoid"
        | "Sign"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Sqrt"
        | "Swish"
        | "Tan"
        | "Tanh"
        | "TensorScatter"
        | "ThresholdedRelu"
        | "Trilu" => elementwise::same_shape(call),
        "Identity" => elementwise::identity(call),
        "Cast" | "CastLike" => elementwise::cast(call),
        "Neg" => elementwise::negate(call),
        "Not" => elementwise::not(call),
        "Dropout" => elementwise::dropout(call),
        "BatchNormalization" => elementwise::batch_normalization(call),
        "LayerNormalization" => elementwise::layer_normalization(call),
        "QuantizeLinear" => elementwise::quantize(call),
        "DequantizeLinear" => elementwise::dequantize(call),
        "Add" | "And" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "Div"
        | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Max" | "Mean"
        | "Min" | "Mod" | "Mul" | "Or" | "Pow" | "Sub" | "Sum" | "Where" | "Xor" => {
            elementwise::broadcasting(call)
        }

        "MatMul" | "MatMulInteger" => linear::matmul(call, 0, 1),
        "QLinearMatMul" => linear::matmul(call, 0, 3),
        "Gemm" => linear::gemm(call),
        "Einsum" => linear::einsum(call),

        "Conv" | "ConvInteger" => convolution::convolution(call, 1),
        "QLinearConv" => convolution::convolution(call, 3),
        "ConvTranspose" => convolution::transposed(call),
        "MaxPool" | "AveragePool" | "LpPool" => convolution::pool(call),
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => convolution::global_pool(call),

        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax"
        | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => {
            reduction::reduce(call)
        }
        "ArgMax" | "ArgMin" => reduction::arg(call),
        "TopK" => reduction::top_k(call),
        "LSTM" | "GRU" | "RNN" => reduction::recurrent(call),

        "Reshape" => layout::reshape(call),
        "Transpose" => layout::transpose(call),
        "Flatten" => layout::flatten(call),
        "Squeeze" => layout::squeeze(call),
        "Unsqueeze" => layout::unsqueeze(call),
        "Expand" => layout::expand(call),
        "Shape" => layout::shape(call),
        "Size" => layout::size(call),
        "Tile" => layout::tile(call),
        "DepthToSpace" => layout::depth(call, true),
        "SpaceToDepth" => layout::depth(call, false),

        "Concat" => selection::concat(call),
        "Split" => selection::split(call),
        "Slice" => selection::slice(call),
        "Gather" => selection::gather(call),
        "GatherElements" => selection::gather_elements(call),
        "GatherND" => selection::gather_nd(call),
        "Pad" => selection::pad(call),
        "OneHot" => selection::one_hot(call),
        "NonZero" => selection::non_zero(call),
        "Resize" => selection::resize(call),

        "Constant" => creation::constant_node(call, model),
        "ConstantOfShape" => creation::constant_of_shape(call, model),
        "Range" => creation::range(call),
        "RandomNormal" | "RandomUniform" => creation::random(call),
        "RandomNormalLike" | "RandomUniformLike" | "EyeLike" | "Bernoulli" => creation::like(call),
        _ => unknown(),
    }
}
