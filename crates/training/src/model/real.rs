//! The two float types that the layers compute in: f32 to train, f64 to check gradients.

use std::borrow::Cow;

use candle_core::WithDType;

/// A floating-point type of the layers.
pub(crate) trait Real: WithDType + Default + std::ops::Neg<Output = Self> {
    fn sqrt(self) -> Self;
    fn exp(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    fn largest(self, other: Self) -> Self;
    /// Stored parameters in this type.
    fn of(values: &[f32]) -> Cow<'_, [Self]>;
}

impl Real for f64 {
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    fn exp(self) -> Self {
        self.exp()
    }
    fn erf(self) -> Self {
        libm::erf(self)
    }
    fn largest(self, other: Self) -> Self {
        self.max(other)
    }
    fn of(values: &[f32]) -> Cow<'_, [Self]> {
        values.iter().copied().map(Self::from).collect()
    }
}

impl Real for f32 {
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    /// Range reduction to `[-ln 2 / 2, ln 2 / 2]` and a polynomial (the coefficients of Cephes'
    /// `expf`), without a branch so that loops vectorize; within 2 units in the last place.
    #[inline(always)]
    fn exp(self) -> Self {
        // Adding 1.5 * 2^23 rounds to the nearest whole number.
        const ROUND: f32 = 12_582_912.0;
        let x = self.clamp(-87.0, 88.0);
        let power = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
        let r = x - power * 0.693_359_4 - power * -2.121_944_4e-4;
        let mut p = 1.987_569_1e-4;
        for coefficient in [
            1.398_2e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
        ] {
            p = p * r + coefficient;
        }
        let p = p * r * r + r + 1.0;
        p * f32::from_bits(((power as i32 + 127) << 23) as u32)
    }

    /// Abramowitz and Stegun 7.1.26, within 5e-7 in this precision.
    #[inline(always)]
    fn erf(self) -> Self {
        let x = self.abs();
        let t = 1.0 / (1.0 + 0.327_591_1 * x);
        let mut p = 1.061_405_4;
        for coefficient in [-1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
            p = p * t + coefficient;
        }
        (1.0 - p * t * Real::exp(-x * x)).copysign(self)
    }

    #[inline(always)]
    fn largest(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    fn of(values: &[f32]) -> Cow<'_, [Self]> {
        Cow::Borrowed(values)
    }
}

#[cfg(test)]
mod tests {
    use super::Real;

    #[test]
    fn the_quick_functions_agree_with_libm() {
        for step in -8_600..8_600_i32 {
            let x = step as f32 / 100.0;
            let (found, expected) = (Real::exp(x), f64::from(x).exp());
            let relative = (f64::from(found) - expected).abs() / expected;
            assert!(relative < 2.5e-7, "exp({x}): {found}, off by {relative}");
            let x = x / 20.0;
            let (found, expected) = (Real::erf(x), libm::erf(f64::from(x)));
            let off = (f64::from(found) - expected).abs();
            assert!(off < 5e-7, "erf({x}): {found}, off by {off}");
        }
        assert!(Real::exp(-1e9_f32) < 2e-38);
        assert!(f32::is_nan(Real::erf(f32::NAN)));
    }
}
