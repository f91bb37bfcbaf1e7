//! What verification found: one report, the same keys on the command line and in files.

use std::collections::BTreeMap;

use amphora_bundle::manifest::{GoldenKind, Tolerance};
use amphora_error::{Error, ErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of this form of report.
pub const SCHEMA_VERSION: &str = "cyntra.onnx_validation.v1";

/// The stages of a verification, in the order in which their failures decide the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    /// Every byte is what was sealed.
    Integrity,
    /// Manifest, configuration and assets describe the graphs.
    Contract,
    /// The graphs are well-formed, and the engine runs their operators.
    ModelCheck,
    /// The golden vectors come out.
    Numerics,
    /// The target's requirements are met.
    Target,
}

/// What a bundle is verified for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// No particular target: only what concerns every bundle.
    General,
    /// ONNX engines.
    #[default]
    Onnx,
    /// Core ML on iOS.
    Ios,
    /// Hailo accelerators.
    Hailo,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 4] = [Self::General, Self::Onnx, Self::Ios, Self::Hailo];

    /// The word that selects it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Onnx => "onnx",
            Self::Ios => "ios",
            Self::Hailo => "hailo",
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for Target {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|target| target.word() == word);
        found.ok_or_else(|| {
            let message = format!("unknown target {}", amphora_error::quoted(word));
            Error::usage("target-name", message).expected("general, onnx, ios or hailo")
        })
    }
}

/// The outcome of a verification.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always [`SCHEMA_VERSION`].
    pub schema_version: String,
    /// When it was verified, as the caller says.
    pub validated_at: Option<String>,
    /// The engine that replayed the golden vectors.
    pub engine: Option<EngineInfo>,
    /// Whether no check failed.
    pub passed: bool,
    /// What the bundle was verified for.
    pub target: Target,
    /// The checks that were attempted, in order, failed ones included.
    pub checks_run: Vec<String>,
    /// The checks that could not be done, and why.
    pub skipped: Vec<Skipped>,
    /// Every failure, in the order of the stages.
    pub errors: Vec<String>,
    /// What is odd but does no harm.
    pub warnings: Vec<String>,
    /// The model check by itself; null when it was not reached.
    pub onnx_check: Option<OnnxCheck>,
    /// The numeric replay; null when there was nothing to replay.
    pub numeric_equivalence: Option<NumericEquivalence>,
    /// How long one case of the entry graph takes; null when nothing was replayed.
    pub inference_time: Option<InferenceTime>,
    #[serde(skip)]
    failures: Vec<(Stage, ErrorKind)>,
}

/// An engine and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineInfo {
    /// `rten`, `ort` or `tract`.
    pub name: String,
    /// The version of the engine.
    pub version: String,
}

/// A check that could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// The check.
    pub check: String,
    /// Why.
    pub reason: String,
}

/// Whether the graphs are well-formed ONNX.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OnnxCheck {
    /// Whether every graph passed.
    pub passed: bool,
    /// Every fault.
    pub errors: Vec<String>,
}

/// How close the engine came to the golden vectors, all graphs together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NumericEquivalence {
    /// What agreement proves.
    pub kind: GoldenKind,
    /// Who computed the reference outputs.
    pub producer: String,
    /// Cases replayed.
    pub n_test_cases: u64,
    /// The largest `|found - reference|` over all finite elements of floating-point outputs.
    pub max_abs_diff: f64,
    /// The largest `|found - reference| / (|reference| + 1e-10)` over the same elements.
    pub max_rel_diff: f64,
    /// Whether every output keeps its policy.
    pub all_within_tolerance: bool,
    /// The smallest absolute tolerance of any output; null when none has one.
    pub tolerance: Option<f64>,
    /// Cases whose code changed although arithmetic may do that: the reference lies closer than
    /// 1e-4 to a rounding border. They are left out of the comparison.
    pub within_rounding_margin: Vec<u64>,
    /// Each compared output; `GRAPH/OUTPUT` in bundles of several graphs.
    pub per_output: BTreeMap<String, OutputReport>,
}

/// How close one output came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutputReport {
    /// The largest absolute difference of finite elements.
    pub max_abs_diff: f64,
    /// The largest relative difference of finite elements.
    pub max_rel_diff: f64,
    /// The element that is furthest from the reference; null when all are equal.
    pub worst: Option<Worst>,
    /// Elements compared.
    pub elements: u64,
    /// Elements that break the policy on their own.
    pub outside: u64,
    /// Elements of which only one side is finite, or that are infinite with another sign, or of
    /// which only one side is NaN; they break every policy.
    pub nonfinite_mismatches: u64,
    /// The fraction of rows whose largest element stands where the reference has it; null unless
    /// the policy asks.
    pub argmax_agreement: Option<f64>,
    /// The fraction of elements that equal the reference; null unless the policy asks.
    pub token_agreement: Option<f64>,
    /// The policy.
    pub tolerance: Tolerance,
    /// Whether the policy is kept.
    pub within_tolerance: bool,
}

/// Where an output is furthest from its reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Worst {
    /// The case, from 0.
    pub case: u64,
    /// The index inside the case's output, outermost dimension first.
    pub index: Vec<u64>,
    /// The reference.
    pub reference: Element,
    /// What the engine answered.
    pub found: Element,
}

/// One element; written as a number, or as `"NaN"`, `"Infinity"` or `"-Infinity"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Element(pub f64);

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:e}", self.0)
    }
}

impl Serialize for Element {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value if value > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Word(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(value) => Ok(Self(value)),
            Form::Word(word) => match word.as_str() {
                "NaN" => Ok(Self(f64::NAN)),
                "Infinity" => Ok(Self(f64::INFINITY)),
                "-Infinity" => Ok(Self(f64::NEG_INFINITY)),
                _ => Err(serde::de::Error::custom("not a number")),
            },
        }
    }
}

impl JsonSchema for Element {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Element".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "a finite number, or the name of one that is not finite",
            "oneOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]
        })
    }
}

/// Milliseconds for one case. The `pytorch_*` fields of document 000 are null: nothing here runs
/// PyTorch; the reference's own times have their own fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InferenceTime {
    /// Always null.
    pub pytorch_mean_ms: Option<f64>,
    /// Always null.
    pub pytorch_std_ms: Option<f64>,
    /// Mean over the replayed cases, one at a time.
    pub onnx_mean_ms: Option<f64>,
    /// Standard deviation over the same.
    pub onnx_std_ms: Option<f64>,
    /// Always null: the ratio to PyTorch.
    pub speedup: Option<f64>,
    /// Mean of the reference forward pass in f64, when it was run.
    pub reference_mean_ms: Option<f64>,
    /// Standard deviation of the same.
    pub reference_std_ms: Option<f64>,
}

impl Report {
    pub(crate) fn new(target: Target) -> Self {
        Self {
            schema_version: SCHEMA_VERSION.to_owned(),
            passed: true,
            target,
            ..Self::default()
        }
    }

    pub(crate) fn begin(&mut self, check: impl Into<String>) {
        self.checks_run.push(check.into());
    }

    pub(crate) fn skip(&mut self, check: &str, reason: impl Into<String>) {
        self.skipped.push(Skipped {
            check: check.to_owned(),
            reason: reason.into(),
        });
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    pub(crate) fn fail(&mut self, stage: Stage, kind: ErrorKind, text: impl Into<String>) {
        self.passed = false;
        self.errors.push(text.into());
        self.failures.push((stage, kind));
    }

    /// Turns every warning into a failure, for callers that accept none.
    pub fn reject_warnings(&mut self) {
        for warning in std::mem::take(&mut self.warnings) {
            let text = format!("warning treated as an error: {warning}");
            self.fail(Stage::Target, ErrorKind::Incompatible, text);
        }
    }

    /// Records an error of a check; each of its faults becomes one entry.
    pub(crate) fn fail_with(&mut self, stage: Stage, kind: ErrorKind, error: &Error) {
        for line in lines(error) {
            self.fail(stage, kind, line);
        }
    }

    /// Adds the replay of one graph to those of others.
    pub(crate) fn merge(&mut self, numeric: NumericEquivalence) {
        let Some(all) = &mut self.numeric_equivalence else {
            self.numeric_equivalence = Some(numeric);
            return;
        };
        all.n_test_cases += numeric.n_test_cases;
        all.max_abs_diff = all.max_abs_diff.max(numeric.max_abs_diff);
        all.max_rel_diff = all.max_rel_diff.max(numeric.max_rel_diff);
        all.all_within_tolerance &= numeric.all_within_tolerance;
        all.tolerance = match (all.tolerance, numeric.tolerance) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        all.within_rounding_margin
            .extend(numeric.within_rounding_margin);
        all.per_output.extend(numeric.per_output);
    }

    /// Adds the time that the reference forward pass took at packing.
    pub fn set_reference_time(&mut self, mean_ms: f64, std_ms: Option<f64>) {
        let time = self.inference_time.get_or_insert_default();
        time.reference_mean_ms = Some(mean_ms);
        time.reference_std_ms = std_ms;
    }

    /// The `validation_report.json` of document 000: the part of the report that has its keys.
    pub fn validation_report(&self) -> serde_json::Value {
        serde_json::json!({
            "schema_version": self.schema_version,
            "validated_at": self.validated_at,
            "onnx_check": self.onnx_check,
            "numeric_equivalence": self.numeric_equivalence,
            "inference_time": self.inference_time,
        })
    }

    /// The kind of the first failing stage, which decides the exit code; `None` when the bundle
    /// passed. A report that was read from a file does not know its stages and answers
    /// [`ErrorKind::Negative`] when it has not passed.
    pub fn exit_kind(&self) -> Option<ErrorKind> {
        if self.passed {
            return None;
        }
        let first = self.failures.iter().min_by_key(|(stage, _)| *stage);
        Some(first.map_or(ErrorKind::Negative, |(_, kind)| *kind))
    }

    /// The report as an answer: an error of [`Report::exit_kind`] that lists every failure, unless
    /// the bundle passed.
    pub fn into_result(self) -> Result<Self, Error> {
        let Some(kind) = self.exit_kind() else {
            return Ok(self);
        };
        Err(
            Error::new(kind, "verification", "the bundle did not pass verification")
                .faults(self.errors),
        )
    }
}

/// One line for each fault of an error.
pub(crate) fn lines(error: &Error) -> Vec<String> {
    if error.fault_list().is_empty() {
        return vec![error.to_string()];
    }
    let whole = error.to_string();
    let head = whole.lines().next().unwrap_or_default().to_owned();
    let faults = error.fault_list().iter();
    faults.map(|fault| format!("{head}: {fault}")).collect()
}
