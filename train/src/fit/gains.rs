//! Which columns of a matrix the splits of a booster gain most by.

use error::Result;
use xgboost::{Booster, Importance};

/// What the splits of each column gain in all trees, of a matrix whose columns are named by their places.
///
/// # Errors
/// [`error::Error::Defect`] where XGBoost cannot tell.
pub(super) fn of_columns(booster: &mut Booster, columns: usize) -> Result<Vec<f32>> {
    let mut gains = vec![0.0; columns];
    for (name, gain) in booster.feature_scores(Importance::TotalGain)? {
        if let Some(of_column) = name.parse().ok().and_then(|place: usize| gains.get_mut(place)) {
            *of_column = gain;
        }
    }
    Ok(gains)
}

/// What columns gain in two boosters.
pub(super) fn sum(one: Vec<f32>, other: Vec<f32>) -> Vec<f32> {
    one.into_iter().zip(other).map(|(one, other)| one + other).collect()
}

/// So many of some columns, those that gain most first, of which each gains more than the least.
pub(super) fn foremost(gains: &[f32], among: impl IntoIterator<Item = usize>, least: f32, most: usize) -> Vec<usize> {
    let mut places: Vec<usize> = among.into_iter().filter(|&place| gains[place] > least).collect();
    places.sort_by(|one, other| gains[*other].total_cmp(&gains[*one]).then(one.cmp(other)));
    places.truncate(most);
    places
}
