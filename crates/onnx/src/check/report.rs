//! What a check found.

use std::collections::BTreeMap;
use std::fmt;

use amphora_error::{Error, ErrorKind, Result, quoted};

use crate::visit::Place;

/// Most findings that are kept; the rest is counted.
const KEPT: usize = 200;

/// One fault or oddity of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The category of the fault; of an oddity, the one it would have as a fault.
    pub kind: ErrorKind,
    /// The rule that is broken, a stable kebab-case word.
    pub rule: &'static str,
    /// Where, for example `graph 'g', node 'n' (Add)`.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Everything that a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// The faults, those of the gravest kind first, then in the order of the model.
    pub errors: Vec<Finding>,
    /// Oddities that do not keep the model from being used.
    pub warnings: Vec<Finding>,
    /// How many further faults were found but are not listed.
    pub omitted: u64,
}

impl CheckReport {
    /// Whether the model may be used.
    pub fn is_ok(&self) -> bool {
        self.errors.is_empty()
    }

    /// One error that lists all faults; its kind and rule are those of the first.
    ///
    /// # Errors
    ///
    /// When there is at least one fault.
    pub fn into_result(self) -> Result<()> {
        let Some(first) = self.errors.first() else {
            return Ok(());
        };
        if self.errors.len() == 1 {
            let error = Error::new(first.kind, first.rule, &first.message);
            return Err(error.at(&first.place));
        }
        let count = self.errors.len() as u64 + self.omitted;
        let message = format!("the model has {count} faults");
        let error = Error::new(first.kind, first.rule, message);
        let mut faults: Vec<String> = self.errors.iter().map(Finding::to_string).collect();
        if self.omitted > 0 {
            faults.push(format!("and {} more", self.omitted));
        }
        Err(error.faults(faults))
    }
}

/// Gathers findings while a model is walked.
#[derive(Default)]
pub(crate) struct Findings {
    report: CheckReport,
    /// Operators that cannot be used, each listed once: how often it occurs, and where first.
    operators: BTreeMap<UnusableOperator, (u64, String)>,
    /// Operators that only an engine may know, likewise.
    custom: BTreeMap<UnusableOperator, (u64, String)>,
}

/// An operator that a node asks for and the imported operator set does not offer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnusableOperator {
    pub(crate) domain: String,
    pub(crate) name: String,
    pub(crate) opset: i64,
    pub(crate) why: Unusable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unusable {
    /// No version of the operator set that is known has it.
    Unknown,
    /// A later version of the operator set introduces it.
    NotYet(u64),
    /// The version imported, or an earlier one, withdrew it.
    Withdrawn(u64),
    /// It belongs to a custom domain: an engine may know it.
    Custom,
}

impl Findings {
    pub(crate) fn malformed(
        &mut self,
        rule: &'static str,
        place: &Place<'_>,
        message: impl Into<String>,
    ) {
        self.add(ErrorKind::Malformed, rule, place, message.into());
    }

    pub(crate) fn limit(
        &mut self,
        rule: &'static str,
        place: &Place<'_>,
        message: impl Into<String>,
    ) {
        self.add(ErrorKind::Limit, rule, place, message.into());
    }

    pub(crate) fn unsupported(
        &mut self,
        rule: &'static str,
        place: &Place<'_>,
        message: impl Into<String>,
    ) {
        self.add(ErrorKind::Unsupported, rule, place, message.into());
    }

    pub(crate) fn warn(
        &mut self,
        kind: ErrorKind,
        rule: &'static str,
        place: &Place<'_>,
        message: impl Into<String>,
    ) {
        if self.report.warnings.len() < KEPT {
            let (place, message) = (place.to_string(), message.into());
            self.report.warnings.push(Finding {
                kind,
                rule,
                place,
                message,
            });
        }
    }

    pub(crate) fn operator(&mut self, operator: UnusableOperator, place: &Place<'_>) {
        let custom = operator.why == Unusable::Custom;
        let list = if custom {
            &mut self.custom
        } else {
            &mut self.operators
        };
        let full = list.len() >= KEPT;
        match list.get_mut(&operator) {
            Some((times, _)) => *times += 1,
            None if full => self.report.omitted += u64::from(!custom),
            None => drop(list.insert(operator, (1, place.to_string()))),
        }
    }

    fn add(&mut self, kind: ErrorKind, rule: &'static str, place: &Place<'_>, message: String) {
        if self.report.errors.len() < KEPT {
            let place = place.to_string();
            self.report.errors.push(Finding {
                kind,
                rule,
                place,
                message,
            });
        } else {
            self.report.omitted += 1;
        }
    }

    /// Whether no fault was found so far.
    pub(crate) fn is_sound(&self) -> bool {
        self.report.errors.is_empty() && self.operators.is_empty()
    }

    pub(crate) fn into_report(self) -> CheckReport {
        let mut report = self.report;
        let finding = |(operator, (times, place)): (UnusableOperator, (u64, String))| {
            let (rule, message) = operator.describe(times);
            Finding {
                kind: ErrorKind::Unsupported,
                rule,
                place,
                message,
            }
        };
        report
            .errors
            .extend(self.operators.into_iter().map(finding));
        report.warnings.extend(self.custom.into_iter().map(finding));
        // Malformed, Limit, Unsupported is the order of the kinds too.
        report.errors.sort_by_key(|finding| finding.kind);
        report
    }
}

impl UnusableOperator {
    fn describe(&self, times: u64) -> (&'static str, String) {
        let domain = match self.domain.as_str() {
            "" => quoted("ai.onnx"),
            domain => quoted(domain),
        };
        let name = quoted(&self.name);
        let opset = self.opset;
        let (rule, what) = match self.why {
            Unusable::Unknown => (
                "operator-unknown",
                format!("operator {name} is unknown in version {opset} of operator set {domain}"),
            ),
            Unusable::NotYet(since) => (
                "operator-unknown",
                format!(
                    "operator {name} comes with version {since} of operator set {domain}, but the model imports version {opset}"
                ),
            ),
            Unusable::Withdrawn(since) => (
                "operator-withdrawn",
                format!(
                    "operator {name} was withdrawn in version {since} of operator set {domain}"
                ),
            ),
            Unusable::Custom => (
                "operator-custom",
                format!(
                    "operator {name} belongs to the custom operator set {domain}; not every engine knows it"
                ),
            ),
        };
        match times {
            1 => (rule, what),
            _ => (rule, format!("{what} (used {times} times, here first)")),
        }
    }
}
