//! Comparing what an engine answered with a reference, element by element.

use amphora_bundle::manifest::Tolerance;
use amphora_error::{Error, Result};
use amphora_onnx::Dtype;
use amphora_runtime::Tensor;

use crate::report::{Element, OutputReport, Worst};

/// Keeps relative differences finite where the reference is zero (document 000, section 4.1).
const RELATIVE_FLOOR: f64 = 1e-10;

/// Gathers the comparison of one output over many cases.
///
/// NaN equals NaN and infinity equals infinity of the same sign, at the same place; every other
/// meeting with a non-finite number breaks the policy, whatever it is.
#[derive(Debug)]
pub struct Comparison {
    tolerance: Tolerance,
    real: bool,
    elements: u64,
    equal: u64,
    outside: u64,
    nonfinite_mismatches: u64,
    rows: u64,
    rows_agreeing: u64,
    max_abs_diff: f64,
    max_rel_diff: f64,
    worst: Option<(f64, Worst)>,
}

/// The elements of a tensor in a type that holds them exactly.
enum Elements {
    Real(Vec<f64>),
    Whole(Vec<i128>),
}

impl Comparison {
    /// Nothing compared yet, under the policy `tolerance`.
    pub fn new(tolerance: Tolerance) -> Self {
        Self {
            tolerance,
            real: false,
            elements: 0,
            equal: 0,
            outside: 0,
            nonfinite_mismatches: 0,
            rows: 0,
            rows_agreeing: 0,
            max_abs_diff: 0.0,
            max_rel_diff: 0.0,
            worst: None,
        }
    }

    /// Compares one case.
    ///
    /// # Errors
    ///
    /// Mismatch (`output-shape`) when the shapes differ or one side is of integers and the other is
    /// not; unsupported (`output-dtype`) for strings and packed element types.
    pub fn add(&mut self, case: u64, reference: &Tensor, found: &Tensor) -> Result<()> {
        let differs = |what: &str, expected: String, answer: String| {
            Error::mismatch(
                "output-shape",
                format!("the answer has another {what} than the reference"),
            )
            .expected(expected)
            .found(answer)
        };
        if reference.shape() != found.shape() {
            let show = |tensor: &Tensor| format!("{:?}", tensor.shape());
            return Err(differs("shape", show(reference), show(found)));
        }
        let width = reference.shape().last().copied().unwrap_or(1).max(1);
        match (elements(reference)?, elements(found)?) {
            (Elements::Real(reference_values), Elements::Real(values)) => {
                self.real = true;
                for (position, (&r, &v)) in reference_values.iter().zip(&values).enumerate() {
                    self.real_element(case, reference.shape(), position, r, v);
                }
                self.count_rows(&reference_values, &values, width);
            }
            (Elements::Whole(reference_values), Elements::Whole(values)) => {
                for (position, (&r, &v)) in reference_values.iter().zip(&values).enumerate() {
                    let difference = r.abs_diff(v) as f64;
                    let (r, v) = (r as f64, v as f64);
                    self.finite(case, reference.shape(), position, difference, r, v);
                }
                let as_real =
                    |values: &[i128]| values.iter().map(|v| *v as f64).collect::<Vec<_>>();
                self.count_rows(&as_real(&reference_values), &as_real(&values), width);
            }
            _ => {
                let (expected, answer) = (reference.dtype(), found.dtype());
                return Err(differs(
                    "element type",
                    expected.to_string(),
                    answer.to_string(),
                ));
            }
        }
        Ok(())
    }

    fn real_element(&mut self, case: u64, shape: &[usize], position: usize, r: f64, v: f64) {
        if r.is_finite() && v.is_finite() {
            self.finite(case, shape, position, (v - r).abs().min(f64::MAX), r, v);
            return;
        }
        self.elements += 1;
        // Equality holds for infinities of the same sign.
        if r == v || (r.is_nan() && v.is_nan()) {
            self.equal += 1;
        } else {
            self.nonfinite_mismatches += 1;
            self.worse(case, shape, position, f64::INFINITY, r, v);
        }
    }

    fn finite(
        &mut self,
        case: u64,
        shape: &[usize],
        position: usize,
        difference: f64,
        r: f64,
        v: f64,
    ) {
        self.elements += 1;
        if difference == 0.0 {
            self.equal += 1;
            return;
        }
        let policy = &self.tolerance;
        let close = match (policy.absolute, policy.relative) {
            (None, None) => true,
            (absolute, relative) => {
                difference < absolute.unwrap_or(0.0) + relative.unwrap_or(0.0) * r.abs()
            }
        };
        if policy.exact || !close {
            self.outside += 1;
        }
        self.max_abs_diff = self.max_abs_diff.max(difference);
        self.max_rel_diff = self
            .max_rel_diff
            .max((difference / (r.abs() + RELATIVE_FLOOR)).min(f64::MAX));
        self.worse(case, shape, position, difference, r, v);
    }

    fn worse(
        &mut self,
        case: u64,
        shape: &[usize],
        position: usize,
        difference: f64,
        r: f64,
        v: f64,
    ) {
        if self
            .worst
            .as_ref()
            .is_none_or(|(worst, _)| difference > *worst)
        {
            let worst = Worst {
                case,
                index: index(shape, position),
                reference: Element(r),
                found: Element(v),
            };
            self.worst = Some((difference, worst));
        }
    }

    fn count_rows(&mut self, reference: &[f64], found: &[f64], width: usize) {
        if self.tolerance.argmax_agreement.is_none() {
            return;
        }
        for (r, v) in reference.chunks(width).zip(found.chunks(width)) {
            self.rows += 1;
            self.rows_agreeing += u64::from(argmax(r) == argmax(v));
        }
    }

    /// Whether floating-point elements were compared.
    pub(crate) fn is_real(&self) -> bool {
        self.real
    }

    /// What was found.
    pub fn finish(self) -> OutputReport {
        let fraction = |part: u64, whole: u64| match whole {
            0 => 1.0,
            _ => part as f64 / whole as f64,
        };
        let policy = &self.tolerance;
        let argmax = policy
            .argmax_agreement
            .map(|least| (fraction(self.rows_agreeing, self.rows), least));
        let tokens = policy
            .token_agreement
            .map(|least| (fraction(self.equal, self.elements), least));
        let kept =
            |agreement: &Option<(f64, f64)>| agreement.is_none_or(|(found, least)| found >= least);
        OutputReport {
            within_tolerance: self.outside == 0
                && self.nonfinite_mismatches == 0
                && kept(&argmax)
                && kept(&tokens),
            max_abs_diff: self.max_abs_diff,
            max_rel_diff: self.max_rel_diff,
            worst: self.worst.map(|(_, worst)| worst),
            elements: self.elements,
            outside: self.outside,
            nonfinite_mismatches: self.nonfinite_mismatches,
            argmax_agreement: argmax.map(|(found, _)| found),
            token_agreement: tokens.map(|(found, _)| found),
            tolerance: self.tolerance,
        }
    }
}

/// Whether two tensors are of the same integers.
pub(crate) fn equal_integers(a: &Tensor, b: &Tensor) -> Result<bool> {
    Ok(match (elements(a)?, elements(b)?) {
        (Elements::Whole(a), Elements::Whole(b)) => a == b,
        _ => false,
    })
}

/// Whether elements of this type are compared as integers.
pub(crate) fn is_whole(dtype: Dtype) -> bool {
    matches!(
        dtype,
        Dtype::Bool
            | Dtype::Int8
            | Dtype::Int16
            | Dtype::Int32
            | Dtype::Int64
            | Dtype::Uint8
            | Dtype::Uint16
            | Dtype::Uint32
            | Dtype::Uint64
    )
}

fn elements(tensor: &Tensor) -> Result<Elements> {
    if let Some(values) = tensor.as_slice::<i64>() {
        return Ok(Elements::Whole(
            values.iter().map(|v| i128::from(*v)).collect(),
        ));
    }
    if let Some(values) = tensor.as_slice::<u64>() {
        return Ok(Elements::Whole(
            values.iter().map(|v| i128::from(*v)).collect(),
        ));
    }
    let values = tensor.to_f64().ok_or_else(|| {
        Error::unsupported("output-dtype", "elements of this type are not compared")
            .found(tensor.dtype().to_string())
    })?;
    Ok(match is_whole(tensor.dtype()) {
        true => Elements::Whole(values.iter().map(|v| *v as i128).collect()),
        false => Elements::Real(values),
    })
}

/// The index of the first largest element; `None` when every element is NaN.
fn argmax(row: &[f64]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, &value) in row.iter().enumerate() {
        if !value.is_nan() && best.is_none_or(|(_, largest)| value > largest) {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}

/// The index, outermost dimension first, of the element at `position` in row-major order.
fn index(shape: &[usize], mut position: usize) -> Vec<u64> {
    let mut index: Vec<u64> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let extent = extent.max(1);
            let here = position % extent;
            position /= extent;
            here as u64
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use amphora_testing::each;

    fn compare(tolerance: Tolerance, reference: &[f64], found: &[f32]) -> OutputReport {
        let shape = [1, reference.len()];
        let mut comparison = Comparison::new(tolerance);
        let reference = Tensor::new(shape, reference.to_vec()).unwrap();
        let found = Tensor::new(shape, found.to_vec()).unwrap();
        comparison.add(7, &reference, &found).unwrap();
        comparison.finish()
    }

    #[test]
    fn every_rule_of_a_policy_is_kept_or_broken() {
        let argmax = |least| Tolerance {
            argmax_agreement: Some(least),
            ..Tolerance::default()
        };
        let tokens = |least| Tolerance {
            token_agreement: Some(least),
            ..Tolerance::default()
        };
        let close = Tolerance::close;
        const NAN: f64 = f64::NAN;
        const INF: f64 = f64::INFINITY;
        type Row<'a> = (&'a str, Tolerance, &'a [f64], &'a [f32], bool);
        let rows: [Row<'_>; 16] = [
            ("equal", close(1e-5, 0.0), &[1.0, 2.0], &[1.0, 2.0], true),
            ("below", close(0.5, 0.0), &[1.0], &[1.25], true),
            (
                "exactly at the tolerance",
                close(0.25, 0.0),
                &[1.0],
                &[1.25],
                false,
            ),
            (
                "zero tolerance, equal",
                close(0.0, 0.0),
                &[1.0],
                &[1.0],
                true,
            ),
            ("relative", close(0.0, 0.3), &[100.0], &[125.0], true),
            (
                "relative broken",
                close(0.0, 0.2),
                &[100.0],
                &[125.0],
                false,
            ),
            ("exact", Tolerance::exact(), &[1.0], &[1.0000001], false),
            (
                "nan on both sides",
                close(1.0, 0.0),
                &[NAN],
                &[f32::NAN],
                true,
            ),
            ("nan found", close(1e9, 1.0), &[0.0], &[f32::NAN], false),
            ("nan expected", close(1e9, 1.0), &[NAN], &[0.0], false),
            (
                "same infinity",
                close(1.0, 0.0),
                &[INF],
                &[f32::INFINITY],
                true,
            ),
            (
                "other infinity",
                close(1e9, 1.0),
                &[INF],
                &[f32::NEG_INFINITY],
                false,
            ),
            ("argmax", argmax(1.0), &[0.0, 9.0], &[5.0, 6.0], true),
            (
                "argmax elsewhere",
                argmax(1.0),
                &[0.0, 9.0],
                &[5.0, 4.0],
                false,
            ),
            (
                "half of the tokens",
                tokens(0.5),
                &[1.0, 2.0],
                &[1.0, 3.0],
                true,
            ),
            (
                "too few tokens",
                tokens(0.6),
                &[1.0, 2.0],
                &[1.0, 3.0],
                false,
            ),
        ];
        each(&rows, |(_, tolerance, reference, found, expected)| {
            let report = compare(tolerance.clone(), reference, found);
            if report.within_tolerance == *expected {
                Ok(())
            } else {
                Err(format!("{report:?}"))
            }
        });
    }

    #[test]
    fn the_worst_element_is_named_and_a_non_finite_one_is_worse_than_any() {
        let report = compare(
            Tolerance::close(1e-5, 0.0),
            &[1.0, -2.0, 0.0],
            &[1.0, -2.5, 0.25],
        );
        let worst = report.worst.unwrap();
        assert_eq!((worst.case, worst.index), (7, vec![0, 1]));
        assert_eq!((worst.reference.0, worst.found.0), (-2.0, -2.5));
        assert_eq!(report.max_abs_diff, 0.5);
        assert_eq!(report.max_rel_diff, 0.25 / 1e-10);
        let report = compare(Tolerance::close(1e-5, 0.0), &[1.0, 0.0], &[9.0, f32::NAN]);
        assert_eq!(report.worst.unwrap().index, [0, 1]);
        assert_eq!((report.max_abs_diff, report.nonfinite_mismatches), (8.0, 1));
    }

    #[test]
    fn integers_are_compared_beyond_the_precision_of_f64() {
        let big = 1_i64 << 53;
        let mut comparison = Comparison::new(Tolerance::exact());
        let reference = Tensor::new([2], vec![big, 5]).unwrap();
        comparison
            .add(0, &reference, &Tensor::new([2], vec![big + 1, 5]).unwrap())
            .unwrap();
        let report = comparison.finish();
        assert_eq!((report.outside, report.max_abs_diff), (1, 1.0));
        assert!(!report.within_tolerance);
    }

    #[test]
    fn another_shape_or_kind_of_element_is_a_mismatch() {
        let reference = Tensor::new([2], vec![1.0_f64, 2.0]).unwrap();
        let mut comparison = Comparison::new(Tolerance::close(1.0, 0.0));
        for found in [
            Tensor::new([1, 2], vec![1.0_f32, 2.0]).unwrap(),
            Tensor::new([2], vec![1_i64, 2]).unwrap(),
        ] {
            let error = comparison.add(0, &reference, &found).unwrap_err();
            assert_eq!(error.rule(), "output-shape");
        }
    }
}
