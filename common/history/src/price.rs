//! What a run costs at list price.

/// Dollars of a vCPU for an hour on Fargate (Linux on x86, us-east-1).
const VCPU_HOUR: f64 = 0.04048;
/// Dollars of a GiB of memory for an hour.
const GIB_HOUR: f64 = 0.004_445;
/// Less than a minute is billed as one.
const LEAST_SECONDS: f64 = 60.0;

/// Dollars at Fargate's list price of so many seconds of a task of this size; none where they are no numbers. Pulling the image, which
/// is billed too, is not in it: no program knows how long it took.
#[must_use]
pub fn dollars(seconds: f64, vcpus: f64, memory_bytes: f64) -> Option<f64> {
    let hours = seconds.max(LEAST_SECONDS) / 3600.0;
    let gib = memory_bytes / f64::from(1 << 30);
    let dollars = hours * (vcpus * VCPU_HOUR + gib * GIB_HOUR);
    (dollars.is_finite() && dollars > 0.0).then_some(dollars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_task_costs_a_minute() {
        let gib = f64::from(1 << 30);
        let minute = dollars(3.0, 2.0, 4.0 * gib).unwrap();
        assert!((minute - (2.0 * 0.04048 + 4.0 * 0.004445) / 60.0).abs() < 1e-12);
        assert_eq!(dollars(60.0, 2.0, 4.0 * gib), Some(minute));
        assert!((dollars(1800.0, 16.0, 64.0 * gib).unwrap() - 0.466).abs() < 0.001);
        assert_eq!(dollars(f64::NAN, 2.0, f64::NAN), None);
    }
}
