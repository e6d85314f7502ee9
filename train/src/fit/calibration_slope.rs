//! The calibration slope: how many times as far from the mean the targets of validation rows lie as what was predicted for them (Van Calster
//! et al., "Calibration: the Achilles heel of predictive analytics", 2019). Leaves that are shrunk and means of several boosters leave
//! predictions too close to the mean of all, by 2 to 5 % on many small tables; a model that was boosted for too long leaves them too far from it.
//! The leaves of the model are multiplied by the slope.

use super::learning_curve::{beyond_chance, ratio};

/// The least and the most that leaves are multiplied by.
const BOUNDS: (f64, f64) = (0.5, 2.0);
/// A slope that is as close to 1 as this changes nothing.
const LEAST_CHANGE: f64 = 0.001;

/// A row that was predicted by a model that had not learnt from it. Where rows were kept apart by group, `group` says which is its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) predicted: f64,
    pub(super) target: f64,
    pub(super) weight: f64,
    pub(super) group: Option<u64>,
}

/// A slope as it was measured, with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CalibrationSlope {
    pub(super) measured: f64,
    pub(super) standard_error: f64,
}

impl CalibrationSlope {
    /// Least squares of targets on predictions, both less the centre. The standard error allows for errors of any size, and for rows of a group
    /// that err alike. None where all predictions are the centre.
    pub(super) fn of(rows: &[Row], centre: f64) -> Option<Self> {
        let mut rows: Vec<&Row> = rows.iter().collect();
        // Only neighbours are compared below; the order within a group stays as it is.
        rows.sort_by_key(|row| row.group);
        let are_one = |one: &&Row, other: &&Row| one.group.is_some() && one.group == other.group;
        let sum = |of: &[&Row], value: &dyn Fn(&Row) -> f64| of.iter().map(|row| row.weight * value(row)).sum::<f64>();
        let (products, squares): (Vec<f64>, Vec<f64>) = rows
            .chunk_by(are_one)
            .map(|group| {
                let product = |row: &Row| (row.predicted - centre) * (row.target - centre);
                let square = |row: &Row| (row.predicted - centre).powi(2);
                (sum(group, &product), sum(group, &square))
            })
            .unzip();
        let (measured, standard_error) = ratio(&products, &squares, &vec![1.0; products.len()])?;
        Some(Self { measured, standard_error })
    }

    /// What leaves are to be multiplied by: what may well be chance counts less.
    pub(super) fn shrunk(self) -> f64 {
        let difference = beyond_chance(self.measured - 1.0, self.standard_error);
        if difference.abs() < LEAST_CHANGE || !difference.is_finite() {
            return 1.0;
        }
        (1.0 + difference).clamp(BOUNDS.0, BOUNDS.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows whose targets are `slope` times as far from 5 as what is predicted, but for errors that the predictions say nothing of.
    fn rows(count: usize, slope: f64, error: f64, groups: Option<usize>) -> Vec<Row> {
        let of = |row: usize| {
            let predicted = 5.0 + ((row / 4) % 7) as f64 - 3.0;
            let sign = [1.0, -1.0, -1.0, 1.0][row % 4];
            let target = 5.0 + slope * (predicted - 5.0) + sign * error;
            Row { predicted, target, weight: 1.0, group: groups.map(|groups| (row % groups) as u64) }
        };
        (0..count).map(of).collect()
    }

    #[test]
    fn predictions_too_close_to_the_mean_are_found_out() {
        for slope in [0.9, 1.0, 1.2] {
            let found = CalibrationSlope::of(&rows(2_800, slope, 0.01, None), 5.0).unwrap();
            assert!((found.measured - slope).abs() < 1e-9 && found.standard_error < 1e-3, "{found:?}");
            assert!((found.shrunk() - slope).abs() < 1e-3, "{found:?}");
        }
        assert_eq!(CalibrationSlope::of(&[], 5.0), None);
        let constant = Row { predicted: 5.0, target: 9.0, weight: 1.0, group: None };
        assert_eq!(CalibrationSlope::of(&[constant; 9], 5.0), None);
    }

    #[test]
    fn what_may_be_chance_changes_no_leaf() {
        let slope = |measured, standard_error| CalibrationSlope { measured, standard_error }.shrunk();
        assert_eq!((slope(1.05, 0.05), slope(0.95, 0.05), slope(1.0005, 0.0)), (1.0, 1.0, 1.0));
        assert!((1.02..1.05).contains(&slope(1.05, 0.025)) && (0.95..0.98).contains(&slope(0.95, 0.025)));
        assert_eq!((slope(9.0, 0.1), slope(-3.0, 0.1), slope(f64::NAN, 0.1)), (2.0, 0.5, 1.0));
    }

    #[test]
    fn few_rows_and_rows_that_err_alike_tell_less() {
        let error = |rows: &[Row]| CalibrationSlope::of(rows, 5.0).unwrap().standard_error;
        let (few, many) = (error(&rows(280, 1.1, 3.0, None)), error(&rows(2_800, 1.1, 3.0, None)));
        assert!((2.5..4.0).contains(&(few / many)), "{few} {many}");
        // The errors of a row and of the next three cancel out; those of each group do not.
        let alone = error(&rows(2_800, 1.1, 3.0, Some(2_800)));
        let alike = |rows: Vec<Row>| error(&rows.iter().flat_map(|row| [*row; 9]).collect::<Vec<Row>>());
        assert!((alone - many).abs() < 1e-12, "{alone} {many}");
        let repeated = alike(rows(2_800, 1.1, 3.0, Some(2_800)));
        assert!((repeated - many).abs() < 1e-9, "nine copies of a row tell what it tells: {repeated} {many}");
    }

    #[test]
    fn rows_without_weight_say_nothing() {
        let mut all = rows(280, 1.1, 0.0, None);
        all.extend(rows(280, 3.0, 0.0, None).into_iter().map(|row| Row { weight: 0.0, ..row }));
        assert!((CalibrationSlope::of(&all, 5.0).unwrap().measured - 1.1).abs() < 1e-9);
    }
}
