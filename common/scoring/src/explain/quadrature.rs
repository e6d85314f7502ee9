//! Gauss–Legendre quadrature: a few points and weights that integrate polynomials without an error.

/// A point between 0 and 1, and what the integrand there counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) at: f64,
    pub(super) weight: f64,
}

/// The points that integrate every polynomial of degree `2 * count - 1` over 0 to 1 (Abramowitz and Stegun, "Handbook of
/// Mathematical Functions", 25.4.29): the zeros of a Legendre polynomial, which Newton's method finds from a close guess.
pub(super) fn points(count: usize) -> Vec<Point> {
    let point = |index: usize| {
        let mut zero = (std::f64::consts::PI * (index as f64 + 0.75) / (count as f64 + 0.5)).cos();
        let mut slope = 1.0;
        // It converges quadratically: a handful of steps reach the last bit.
        for _ in 0..16 {
            let value;
            (value, slope) = legendre(count, zero);
            zero -= value / slope;
        }
        let weight = 1.0 / ((1.0 - zero * zero) * slope * slope);
        Point { at: (1.0 - zero) / 2.0, weight }
    };
    (0..count).map(point).collect()
}

/// The Legendre polynomial of a degree, and its slope.
fn legendre(degree: usize, at: f64) -> (f64, f64) {
    let (mut below, mut value) = (0.0, 1.0);
    for step in 1..=degree {
        let step = step as f64;
        (below, value) = (value, ((2.0 * step - 1.0) * at * value - (step - 1.0) * below) / step);
    }
    (value, degree as f64 * (at * value - below) / (at * at - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_integrated_exactly() {
        for count in 1..=40 {
            let points = points(count);
            for degree in 0..2 * count as i32 {
                let integral: f64 = points.iter().map(|point| point.weight * point.at.powi(degree)).sum();
                let exact = 1.0 / f64::from(degree + 1);
                assert!((integral - exact).abs() < 1e-13, "{count} points, degree {degree}: {integral}, not {exact}");
            }
            assert!(points.iter().all(|point| point.weight > 0.0 && point.at > 0.0 && point.at < 1.0));
        }
    }
}
