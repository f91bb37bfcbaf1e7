//! Small planner MLPs, spelled in every way that is recognized and in many that are not.

/// How the graph is spelled.
#[derive(Debug, Clone)]
pub(crate) struct Spelling {
    #[expect(dead_code, reason = "tells failing rows apart")]
    pub(crate) name: &'static str,
    pub(crate) opset: u64,
    pub(crate) width: usize,
    pub(crate) hidden: Vec<usize>,
    pub(crate) heads: Vec<usize>,
    pub(crate) linear: Linear,
    pub(crate) norm: Norm,
    pub(crate) copies: Copies,
    pub(crate) fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Linear {
    GemmTransposed,
    Gemm,
    GemmOfTranspose,
    GemmWithoutBias,
    MatMul,
    MatMulOfTranspose,
    MatMulBiasFirst,
    MatMulWithoutBias,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Norm {
    Builder,
    Native,
    NativeWithoutShift,
    Parts,
    PartsSquaredByMul,
    PartsOtherOrder,
    PartsCenteredTwice,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Copies {
    None,
    Identity,
    Dropout,
    DropoutToldNotToTrain,
}

/// What makes the graph something else than the planner MLP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    Alpha,
    Beta,
    TransposedInput,
    LeakyRelu,
    NoRelu,
    NoNorm,
    SecondRelu,
    ReluOnHead,
    NormOverBatch,
    MeanOverBatch,
    MeanOverAll,
    MeanWithoutAxis,
    Cubed,
    SubReversed,
    DivReversed,
    MeanOfSomethingElse,
    SquareOfSomethingElse,
    EpsilonOfEachColumn,
    NegativeEpsilon,
    BiasOfOneElement,
    ScaleOfOneElement,
    HeadOnFirstLayer,
    HeadOnInput,
    Residual,
    InputScaled,
    SecondInput,
    TrainingDropout,
    MaskOfDropout,
    NanWeight,
    InfiniteBias,
    DoublePrecision,
    WeightFromInput,
    RankThreeInput,
    OldOpset,
}

pub(crate) fn plain(name: &'static str) -> Spelling {
    Spelling {
        name,
        opset: 17,
        width: 9,
        hidden: vec![8, 5],
        heads: vec![2, 3],
        linear: Linear::GemmTransposed,
        norm: Norm::Builder,
        copies: Copies::None,
        fault: Fault::None,
    }
}
