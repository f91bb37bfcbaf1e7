//! Running golden vectors through an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use amphora_bundle::manifest::Tolerance;
use amphora_error::{Error, Result, quoted};
use amphora_runtime::{Outputs, Session, Tensor};

use crate::golden::{Batch, Golden, check_outputs, rows_of};
use crate::numeric::{Comparison, equal_integers, is_whole};
use crate::report::{InferenceTime, NumericEquivalence, OutputReport};

/// Codes may change under other arithmetic when the reference lies closer than this to a rounding
/// border.
pub const ROUNDING_MARGIN: f64 = 1e-4;

/// What a replay found.
#[derive(Debug)]
pub struct Replay {
    /// The comparison.
    pub numeric: NumericEquivalence,
    /// The times of single cases.
    pub time: InferenceTime,
    /// Outputs that have reference values but no policy: they were not compared.
    pub without_policy: Vec<String>,
}

/// Replays `golden` on `session`, which must not calibrate, and compares each output under its
/// policy in `tolerances`.
///
/// Stacked cases run twice: all together, as a server would batch them, and each alone, which is
/// timed.
///
/// # Errors
///
/// Incompatible (`golden-outputs`) when the vectors hold outputs that the graph does not have, or
/// lack one that has a policy; usage and unsupported from [`Session::run`]; mismatch
/// (`output-shape`) when an answer has another shape than its reference, and (`golden-empty`) when
/// nothing was left to compare.
pub fn replay(
    golden: &Golden,
    session: &mut Session,
    tolerances: &BTreeMap<String, Tolerance>,
) -> Result<Replay> {
    let mut replay = Running {
        tolerances,
        comparisons: BTreeMap::new(),
        within_margin: BTreeSet::new(),
        times: Vec::new(),
    };
    let mut first = 0;
    let mut without_policy = BTreeSet::new();
    for batch in golden.batches() {
        check_outputs(batch, session.contract(), tolerances)?;
        let unbound = batch
            .outputs
            .keys()
            .filter(|name| !tolerances.contains_key(*name));
        without_policy.extend(unbound.cloned());
        replay.batch(first, batch, session)?;
        first += batch.cases() as u64;
    }
    if replay.comparisons.is_empty() {
        return Err(Error::mismatch(
            "golden-empty",
            "not one element of the golden vectors could be compared",
        ));
    }
    let (mean, deviation) = mean_and_deviation(&replay.times);
    Ok(Replay {
        time: InferenceTime {
            onnx_mean_ms: Some(mean),
            onnx_std_ms: deviation,
            ..InferenceTime::default()
        },
        without_policy: without_policy.into_iter().collect(),
        numeric: replay.finish(golden),
    })
}

struct Running<'a> {
    tolerances: &'a BTreeMap<String, Tolerance>,
    comparisons: BTreeMap<String, Comparison>,
    within_margin: BTreeSet<u64>,
    times: Vec<f64>,
}

/// References or answers of one case, by output.
type Row = BTreeMap<String, Tensor>;

impl Running<'_> {
    fn batch(&mut self, first: u64, batch: &Batch, session: &mut Session) -> Result<()> {
        let Some(cases) = batch.stacked else {
            let answers = self.timed(session, &batch.inputs)?;
            return self.compare(first, None, &batch.outputs, answers.into_iter().collect());
        };
        let references = split(&batch.outputs, cases)?;
        let margin = |index: usize| batch.rounding_margin.as_ref()?.get(index).copied();
        let cases_of = |index: usize| first + index as u64;
        if cases > 1 {
            let answers: Row = session.run(&batch.inputs)?.into_iter().collect();
            let compared = answers
                .into_iter()
                .filter(|(name, _)| batch.outputs.contains_key(name));
            let answers = split(&compared.collect(), cases)?;
            for (index, (reference, found)) in references.iter().zip(answers).enumerate() {
                self.compare(cases_of(index), margin(index), reference, found)?;
            }
        }
        let inputs = split(&batch.inputs, cases)?;
        for (index, (reference, alone)) in references.iter().zip(inputs).enumerate() {
            let found = self.timed(session, &alone)?.into_iter().collect();
            self.compare(cases_of(index), margin(index), reference, found)?;
        }
        Ok(())
    }

    fn timed(
        &mut self,
        session: &mut Session,
        inputs: &BTreeMap<String, Tensor>,
    ) -> Result<Outputs> {
        let clock = Instant::now();
        let answers = session.run(inputs)?;
        self.times.push(clock.elapsed().as_secs_f64() * 1000.0);
        Ok(answers)
    }

    /// Compares what was found for `case` with its reference. A case whose codes differ although
    /// its rounding margin lets them is left out as a whole: the other outputs follow the code.
    fn compare(
        &mut self,
        case: u64,
        rounding_margin: Option<f64>,
        reference: &Row,
        found: Row,
    ) -> Result<()> {
        let mut pairs = Vec::new();
        for (name, reference) in reference {
            if let (Some(found), Some(tolerance)) = (found.get(name), self.tolerances.get(name)) {
                pairs.push((name, tolerance, reference, found));
            }
        }
        if rounding_margin.is_some_and(|margin| margin < ROUNDING_MARGIN) {
            for (_, _, reference, found) in &pairs {
                if is_whole(reference.dtype()) && !equal_integers(reference, found)? {
                    self.within_margin.insert(case);
                    return Ok(());
                }
            }
        }
        for (name, tolerance, reference, found) in pairs {
            let comparison = self
                .comparisons
                .entry(name.clone())
                .or_insert_with(|| Comparison::new(tolerance.clone()));
            comparison
                .add(case, reference, found)
                .map_err(|error| error.at(format!("output {}, case {case}", quoted(name))))?;
        }
        Ok(())
    }

    fn finish(self, golden: &Golden) -> NumericEquivalence {
        let mut largest = (0.0_f64, 0.0_f64);
        let mut per_output: BTreeMap<String, OutputReport> = BTreeMap::new();
        for (name, comparison) in self.comparisons {
            let real = comparison.is_real();
            let report = comparison.finish();
            if real {
                largest.0 = largest.0.max(report.max_abs_diff);
                largest.1 = largest.1.max(report.max_rel_diff);
            }
            per_output.insert(name, report);
        }
        let absolutes = per_output
            .values()
            .filter_map(|output| output.tolerance.absolute);
        NumericEquivalence {
            kind: golden.kind(),
            producer: golden.producer().to_owned(),
            n_test_cases: golden.cases(),
            max_abs_diff: largest.0,
            max_rel_diff: largest.1,
            all_within_tolerance: per_output.values().all(|output| output.within_tolerance),
            tolerance: absolutes.reduce(f64::min),
            within_rounding_margin: self.within_margin.into_iter().collect(),
            per_output,
        }
    }
}

/// The tensors of each case.
fn split(tensors: &Row, cases: usize) -> Result<Vec<Row>> {
    let mut rows = vec![Row::new(); cases];
    for (name, tensor) in tensors {
        let parts =
            rows_of(tensor, cases).map_err(|error| error.at(format!("tensor {}", quoted(name))))?;
        for (row, part) in rows.iter_mut().zip(parts) {
            row.insert(name.clone(), part);
        }
    }
    Ok(rows)
}

/// Mean and sample standard deviation; no deviation of fewer than two.
pub(crate) fn mean_and_deviation(samples: &[f64]) -> (f64, Option<f64>) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count.max(1.0);
    if samples.len() < 2 {
        return (mean, None);
    }
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    (mean, Some((squares / (count - 1.0)).sqrt()))
}
