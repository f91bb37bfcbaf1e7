//! Running golden vectors through an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use amphora_bundle::manifest::Tolerance;
use amphora_error::{Result, quoted};
use amphora_runtime::{Outputs, Session, Tensor};

use crate::golden::{Batch, Golden, case_of, refuse_strangers};
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
/// Incompatible (`golden-outputs`) when the vectors hold outputs that the graph does not have; usage
/// and unsupported from [`Session::run`]; mismatch (`output-shape`) when an answer has another shape
/// than its reference.
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
        refuse_strangers(batch, session.contract())?;
        let unbound = batch
            .outputs
            .keys()
            .filter(|name| !tolerances.contains_key(*name));
        without_policy.extend(unbound.cloned());
        replay.batch(first, batch, session)?;
        first += batch.cases() as u64;
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

impl Running<'_> {
    fn batch(&mut self, first: u64, batch: &Batch, session: &mut Session) -> Result<()> {
        let Some(cases) = batch.stacked else {
            let answers = self.timed(session, &batch.inputs)?;
            return self.compare(first, 0, batch, &answers, None);
        };
        if cases > 1 {
            let answers = session.run(&batch.inputs)?;
            for index in 0..cases {
                self.compare(first, index, batch, &answers, Some(cases))?;
            }
        }
        for index in 0..cases {
            let alone = rows(&batch.inputs, index, cases)?;
            let answers = self.timed(session, &alone)?;
            self.compare(first, index, batch, &answers, None)?;
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

    /// Compares case `index` of `batch` with `answers`, which hold `stacked` cases or only this one.
    fn compare(
        &mut self,
        first: u64,
        index: usize,
        batch: &Batch,
        answers: &Outputs,
        stacked: Option<usize>,
    ) -> Result<()> {
        let case = first + index as u64;
        let mut pairs = Vec::new();
        for (name, reference) in &batch.outputs {
            let (Some(found), Some(tolerance)) = (answers.get(name), self.tolerances.get(name))
            else {
                continue;
            };
            let row = |tensor: &Tensor, cases: Option<usize>| match cases {
                Some(cases) => case_of(tensor, index, cases),
                None => Ok(tensor.clone()),
            };
            let named = |error: amphora_error::Error| error.at(format!("output {}", quoted(name)));
            let reference = row(reference, batch.stacked).map_err(named)?;
            let found = row(found, stacked).map_err(named)?;
            pairs.push((name, tolerance, reference, found));
        }
        if self.may_flip(index, batch) {
            let mut codes = pairs
                .iter()
                .filter(|(_, _, reference, _)| is_whole(reference.dtype()));
            let same = codes.try_fold(true, |same, (_, _, reference, found)| {
                Ok::<_, amphora_error::Error>(same && equal_integers(reference, found)?)
            })?;
            if !same {
                self.within_margin.insert(case);
                return Ok(());
            }
        }
        for (name, tolerance, reference, found) in pairs {
            let comparison = self
                .comparisons
                .entry(name.clone())
                .or_insert_with(|| Comparison::new(tolerance.clone()));
            comparison
                .add(case, &reference, &found)
                .map_err(|error| error.at(format!("output {}, case {case}", quoted(name))))?;
        }
        Ok(())
    }

    fn may_flip(&self, index: usize, batch: &Batch) -> bool {
        let margins = batch.rounding_margin.as_ref();
        margins
            .and_then(|margins| margins.get(index))
            .is_some_and(|margin| *margin < ROUNDING_MARGIN)
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

fn rows(
    tensors: &BTreeMap<String, Tensor>,
    index: usize,
    cases: usize,
) -> Result<BTreeMap<String, Tensor>> {
    let named = tensors.iter();
    named
        .map(|(name, tensor)| Ok((name.clone(), case_of(tensor, index, cases)?)))
        .collect()
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
