//! What one feature does to predictions, as a strip: left of the middle it lowers them, right it raises them.

use error::Result;
use plotters::element::Rectangle;
use plotters::style::Color;

use super::super::importance::FeatureImportance;
use super::{GRID, SCALE, Svg, draw, strength};

/// Cells to either side of the middle.
const HALF: usize = 24;
/// Pixels of a cell.
const CELL: (i32, i32) = (4, 22);
/// Values whose rank is below this are low; above its counterpart, high.
const LOW: f64 = 1.0 / 3.0;

/// The largest |SHAP| that strips show, the same for all strips of a page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Scale(f64);

impl Scale {
    /// The scale on which all but the few farthest effects of these features lie.
    pub(in super::super) fn of(features: &[FeatureImportance]) -> Self {
        let effects = features.iter().flat_map(|feature| &feature.effects);
        let mut sizes: Vec<f64> =
            effects.map(|effect| f64::from(effect.shap.abs())).filter(|size| size.is_finite()).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let most = sizes.get(sizes.len().saturating_mul(998) / 1000).copied().unwrap_or_default();
        Self(if most > 0.0 { most } else { 1.0 })
    }

    /// The end of the scale.
    pub(in super::super) fn end(self) -> f64 {
        self.0
    }

    /// The cell of an effect; what lies beyond the scale is in the last one. By square roots: beside a feature that does
    /// almost everything, the others are still to be told apart.
    fn cell(self, shap: f64) -> usize {
        let share = (shap / self.0).clamp(-1.0, 1.0);
        let share = share.signum() * share.abs().sqrt();
        let place = (share * HALF as f64 + HALF as f64) as usize;
        place.min(2 * HALF - 1)
    }
}

/// Rows of a cell, and the mean rank of their values.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    rows: u32,
    ranked: u32,
    ranks: f64,
}

/// Draws the effects of a feature; a cell has the colour of the feature's values there: low, middling or high.
pub(in super::super) fn effect_strip(feature: &FeatureImportance, scale: Scale) -> Result<Svg> {
    let cells = cells(feature, scale);
    let most = cells.iter().map(|cell| cell.rows).max().unwrap_or_default();
    let (width, height) = CELL;
    let size = (2 * HALF as u32 * width.unsigned_abs(), height.unsigned_abs());
    draw(size, |area| {
        let middle = HALF as i32 * width;
        area.draw(&Rectangle::new([(middle, 0), (middle + 1, height)], GRID.filled()))?;
        for (place, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.rows > 0) {
            let left = place as i32 * width;
            let colour = colour(cell).mix(strength(f64::from(cell.rows), f64::from(most)).max(0.18));
            area.draw(&Rectangle::new([(left, 3), (left + width, height - 3)], colour.filled()))?;
        }
        Ok(())
    })
}

fn colour(cell: &Cell) -> plotters::style::RGBColor {
    if cell.ranked == 0 {
        return SCALE[3];
    }
    let rank = cell.ranks / f64::from(cell.ranked);
    SCALE[if rank < LOW { 0 } else { usize::from(rank > 1.0 - LOW) + 1 }]
}

fn cells(feature: &FeatureImportance, scale: Scale) -> Vec<Cell> {
    let mut known: Vec<f32> =
        feature.effects.iter().map(|effect| effect.value).filter(|value| !value.is_nan()).collect();
    known.sort_unstable_by(f32::total_cmp);
    // Values that are the same have no order.
    let is_ordered = feature.ordered && known.first() != known.last();
    let mut cells = vec![Cell::default(); 2 * HALF];
    for effect in &feature.effects {
        let cell = &mut cells[scale.cell(f64::from(effect.shap))];
        cell.rows += 1;
        if is_ordered && !effect.value.is_nan() {
            let below = known.partition_point(|value| *value < effect.value);
            let up_to = known.partition_point(|value| *value <= effect.value);
            cell.ranked += 1;
            cell.ranks += (below + up_to) as f64 / (2 * known.len()) as f64;
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::super::super::importance::Effect;
    use super::*;

    fn feature(effects: &[(f32, f32)]) -> FeatureImportance {
        FeatureImportance {
            feature: "x".to_owned(),
            shap: 0.0,
            gain: 0.0,
            splits: 0,
            effects: effects.iter().map(|&(shap, value)| Effect { shap, value }).collect(),
            ordered: true,
        }
    }

    #[test]
    fn low_values_are_where_they_lower_the_prediction_and_missing_ones_have_no_colour() {
        let effects: Vec<(f32, f32)> = (-50..=50).map(|step| (step as f32, step as f32)).collect();
        let rising = feature(&effects);
        let cells = cells(&rising, Scale::of(std::slice::from_ref(&rising)));
        assert_eq!(cells.iter().map(|cell| cell.rows).sum::<u32>(), 101);
        assert_eq!(
            (colour(&cells[0]), colour(&cells[HALF]), colour(&cells[2 * HALF - 1])),
            (SCALE[0], SCALE[1], SCALE[2])
        );
        let missing = feature(&[(1.0, f32::NAN), (1.0, f32::NAN)]);
        let drawn = super::cells(&missing, Scale(1.0));
        assert_eq!(colour(&drawn[2 * HALF - 1]), SCALE[3]);
    }

    #[test]
    fn a_feature_without_effect_or_rows_has_a_strip() {
        for effects in [vec![], vec![(0.0, 1.0); 3], vec![(f32::NAN, 1.0)], vec![(f32::INFINITY, 2.0), (1.0, 3.0)]] {
            let feature = feature(&effects);
            let strip = effect_strip(&feature, Scale::of(std::slice::from_ref(&feature))).unwrap();
            assert!(strip.markup().starts_with("<svg") && strip.markup().ends_with("</svg>\n"));
        }
    }
}
