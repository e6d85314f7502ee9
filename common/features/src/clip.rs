//! From the model's output to the prediction that is written.

/// The prediction for an output of the model: in double precision, held inside `clip` where the model clips.
#[must_use]
pub fn final_prediction(output: f32, clip: Option<(f64, f64)>) -> f64 {
    let prediction = f64::from(output);
    clip.map_or(prediction, |(low, high)| prediction.clamp(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_is_held_inside_the_targets_range() {
        assert_eq!(final_prediction(1.5, Some((0.0, 1.0))), 1.0);
        assert_eq!(final_prediction(-1.5, Some((0.0, 1.0))), 0.0);
        assert_eq!(final_prediction(0.25, Some((0.0, 1.0))), 0.25);
        assert_eq!(final_prediction(1.5, None), 1.5);
    }
}
