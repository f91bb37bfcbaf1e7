//! Whether a model makes sense: names, order, operators, attributes, sub-graphs, functions.
//!
//! At least as strict as `onnx.checker.check_model` of the Python package `onnx`; a list beside the
//! agreement test (`tests/checking/checker_disagreements.tsv`) names every rule by which it is stricter. Payloads
//! of tensors are not looked at again: [`Model`] cannot be made with one that breaks a rule.

mod attribute;
mod functions;
mod graph;
mod node;
mod order;
mod report;
mod scope;
mod sparse;
mod types;

use std::collections::HashMap;

use amphora_error::{ErrorKind, Result, quoted};

use crate::operators;
use crate::proto::{ModelProto, OperatorSetIdProto};
use crate::visit::Place;
use crate::{Limits, Model};

pub(crate) use report::Findings;
pub use report::{CheckReport, Finding};
use scope::Scope;

impl Model {
    /// Checks the model and fails with all its faults at once.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] when a rule of the format is broken, else
    /// [`amphora_error::ErrorKind::Limit`] when it is too large, else
    /// [`amphora_error::ErrorKind::Unsupported`] for operators or versions that are not known, all of
    /// them listed.
    pub fn check(&self) -> Result<()> {
        self.check_report().into_result()
    }

    /// Checks the model and reports every fault and every oddity.
    ///
    /// Shapes are looked at only when nothing else is wrong.
    pub fn check_report(&self) -> CheckReport {
        let mut findings = self.check_structure();
        if findings.is_sound() {
            crate::infer::contradictions(self, &mut findings);
        }
        findings.into_report()
    }

    /// Everything but the shapes.
    pub(crate) fn check_structure(&self) -> Findings {
        let mut checker = Checker {
            model: self,
            limits: self.limits(),
            ir: self.proto().ir_version(),
            findings: Findings::default(),
        };
        checker.model(self.proto());
        checker.findings
    }
}

/// Operator-set versions by domain, spelled as in the file.
type Opsets<'m> = HashMap<&'m str, i64>;

/// What is the same all over a model, and what was found so far.
struct Checker<'m> {
    model: &'m Model,
    limits: &'m Limits,
    ir: i64,
    findings: Findings,
}

/// What a node may refer to.
struct Surroundings<'s, 'm> {
    opsets: &'s Opsets<'m>,
    functions: &'s functions::Functions<'m>,
    /// The attributes of the function that the node is in.
    parameters: Option<&'s functions::Parameters<'m>>,
}

impl<'m> Checker<'m> {
    fn model(&mut self, proto: &'m ModelProto) {
        let place = Place::MODEL;
        self.ir_version(&place);
        self.metadata(proto, &place);
        let opsets = self.opsets(&proto.opset_import, &place);
        self.opset_presence(proto, &place);
        let opsets = match opsets.is_empty() && self.ir < 3 {
            true => HashMap::from([("", 1)]),
            false => opsets,
        };
        let functions = functions::collect(&proto.functions, &mut self.findings);
        let surroundings = Surroundings {
            opsets: &opsets,
            functions: &functions,
            parameters: None,
        };
        if let Some(graph) = &proto.graph {
            self.graph(graph, &Scope::default(), true, &surroundings, &place);
        }
        self.functions(proto, &surroundings);
        if !proto.training_info.is_empty() {
            let message = "training information is neither checked nor used";
            self.findings
                .warn(ErrorKind::Unsupported, "training-info", &place, message);
        }
    }

    fn ir_version(&mut self, place: &Place<'_>) {
        let newest = operators::newest_ir_version();
        match u64::try_from(self.ir) {
            Ok(0) | Err(_) => {
                let message = format!("the IR version is not set properly: {}", self.ir);
                self.findings.malformed("ir-version", place, message);
            }
            Ok(version) if version > newest => {
                let message = format!("IR version {version} is unknown; the newest is {newest}");
                self.findings
                    .unsupported("ir-version-future", place, message);
            }
            Ok(_) => {}
        }
    }

    fn metadata(&mut self, proto: &ModelProto, place: &Place<'_>) {
        let mut keys: Vec<&str> = proto
            .metadata_props
            .iter()
            .map(|entry| entry.key())
            .collect();
        keys.sort_unstable();
        for pair in keys.windows(2).filter(|pair| pair[0] == pair[1]) {
            let message = format!("the metadata key {} occurs twice", quoted(pair[0]));
            self.findings
                .malformed("metadata-duplicate", place, message);
        }
    }

    fn opset_presence(&mut self, proto: &ModelProto, place: &Place<'_>) {
        match (proto.opset_import.is_empty(), self.ir >= 3) {
            (true, true) => {
                let message = "the model imports no operator set";
                self.findings.malformed("opset-missing", place, message);
            }
            (false, false) => {
                let message = "operator sets are imported, which IR versions before 3 cannot do";
                self.findings.malformed("opset-unexpected", place, message);
            }
            _ => {}
        }
    }

    /// The operator sets that a model or function imports.
    fn opsets(&mut self, imports: &'m [OperatorSetIdProto], place: &Place<'_>) -> Opsets<'m> {
        let mut opsets = Opsets::new();
        for import in imports {
            let (domain, version) = (import.domain(), import.version());
            let shown = if domain.is_empty() { "ai.onnx" } else { domain };
            let alias = if domain == "ai.onnx" { "" } else { "ai.onnx" };
            let twice = opsets.insert(domain, version).is_some()
                || (operators::canonical_domain(domain).is_empty() && opsets.contains_key(alias));
            if twice {
                let message = format!("the operator set {} is imported twice", quoted(shown));
                self.findings.malformed("opset-twice", place, message);
            }
            let Some(known) = operators::opsets(domain) else {
                continue;
            };
            match u64::try_from(version) {
                Ok(version) if known.contains(&version) => {}
                Ok(version) if version > *known.end() => {
                    let message = format!(
                        "version {version} of operator set {} is unknown; the newest is {}",
                        quoted(shown),
                        known.end()
                    );
                    self.findings.unsupported("opset-future", place, message);
                }
                _ => {
                    let message =
                        format!("operator set {} has no version {version}", quoted(shown));
                    self.findings.malformed("opset-version", place, message);
                }
            }
        }
        opsets
    }
}
