//! Blends of models, as XGBoost and the compiled scorer see them.

use super::tests::{Table, load, options, params};
use std::collections::BTreeSet;

use super::*;
use scoring::{Ensemble, EnsembleError, ModelPart, Scorer, average_models};

/// A model that knows some of the table's columns only.
fn model(columns: &[usize], case: &[(&str, &str)], rounds: u32, seed: u64) -> Vec<u8> {
    let (features, table) = (Table::features(true), Table::new(600, seed));
    let features: Vec<Feature> = columns.iter().map(|column| features[*column].clone()).collect();
    let all = table.columns();
    let columns = columns.iter().map(|column| all[*column]).collect();
    let batch = Batch { columns, labels: Some(&table.labels), weights: None };
    let matrix = DMatrix::quantile(&features, &batch, &options(1)).unwrap();
    super::tests::trained(&params(case), &matrix, rounds).save().unwrap()
}

/// Averages, with the features of the whole table.
fn averaged(parts: &[ModelPart<'_>]) -> Result<Vec<u8>, EnsembleError> {
    let all = Table::features(true);
    let named: Vec<(&str, &str)> = all.iter().map(|one| (one.name.as_str(), one.kind.letter())).collect();
    average_models(parts, &named)
}

fn margins(model: &[u8], columns: &[usize], rows: &Table) -> Vec<f32> {
    let all = rows.columns();
    let columns: Vec<Column<'_>> = columns.iter().map(|column| all[*column]).collect();
    load(model).predict_columns(&columns, 0..0).unwrap()
}

#[test]
fn a_blend_predicts_the_weighted_mean_of_its_models() {
    let (left, right) = ([0, 1, 2, 4], [3, 4, 0]);
    let sampled = [("subsample", "0.6"), ("max_depth", "5")];
    let parts = [model(&left, &[("eta", "0.2")], 12, 3), model(&right, &sampled, 7, 3)];
    let blended = averaged(&[
        ModelPart { model: &parts[0], weight: 0.75, columns: &left },
        ModelPart { model: &parts[1], weight: 0.25, columns: &right },
    ])
    .unwrap();
    let mut booster = load(&blended);
    assert_eq!(booster.rounds().unwrap(), 19);
    assert_eq!(Ensemble::from_ubj(&blended).unwrap().n_features(), 5);
    let names: BTreeSet<String> = Table::features(true).into_iter().map(|feature| feature.name).collect();
    let used = booster.feature_scores(Importance::Weight).unwrap();
    assert_eq!(used.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), names);

    let rows = Table::new(400, 9);
    let expected: Vec<f32> = margins(&parts[0], &left, &rows)
        .into_iter()
        .zip(margins(&parts[1], &right, &rows))
        .map(|(left, right)| 0.75 * left + 0.25 * right)
        .collect();
    let predicted = booster.predict_columns(&rows.columns(), 0..0).unwrap();
    assert!(expected.iter().zip(&predicted).all(|(one, other)| (one - other).abs() < 1e-5));

    // As XGBoost writes it back: what `train` stores and `predict` compiles.
    let saved = booster.save().unwrap();
    let scorer = Scorer::compile(&Ensemble::from_ubj(&saved).unwrap()).unwrap();
    let mut scored = vec![0.0; rows.labels.len()];
    let columns: Vec<&[f32]> = rows.numbers.iter().chain([&rows.codes]).map(Vec::as_slice).collect();
    scorer.predict(&columns, &mut scored);
    assert_eq!(scored, predicted);
    assert_eq!(load(&saved).predict_columns(&rows.columns(), 0..0).unwrap(), predicted);
}

#[test]
fn weights_of_another_sum_move_predictions_away_from_the_base_score() {
    let all = [0, 1, 2, 3, 4];
    let plain = model(&all, &[("eta", "0.2")], 12, 3);
    let stretched = averaged(&[ModelPart { model: &plain, weight: 1.25, columns: &all }]).unwrap();
    let base = Ensemble::from_ubj(&plain).unwrap().base_score();
    assert_eq!(Ensemble::from_ubj(&stretched).unwrap().base_score(), base);
    let rows = Table::new(400, 9);
    let pairs = margins(&plain, &all, &rows).into_iter().zip(margins(&stretched, &all, &rows));
    assert!(pairs.into_iter().all(|(before, after)| (base + 1.25 * (before - base) - after).abs() < 1e-5));
}

#[test]
fn what_no_model_splits_by_is_a_feature_all_the_same() {
    let part = [1, 3];
    let narrow = model(&part, &[("eta", "0.2")], 12, 3);
    let wide = averaged(&[ModelPart { model: &narrow, weight: 1.0, columns: &part }]).unwrap();
    let rows = Table::new(400, 9);
    assert_eq!(margins(&wide, &[0, 1, 2, 3, 4], &rows), margins(&narrow, &part, &rows));
    let saved = load(&wide).save().unwrap();
    assert_eq!(Ensemble::from_ubj(&saved).unwrap().n_features(), 5);
}

#[test]
fn models_that_do_not_go_together_are_refused() {
    let all = [0, 1, 2, 3, 4];
    let plain = model(&all, &[], 2, 3);
    let part = |model, columns| ModelPart { model, weight: 0.5, columns };
    let other_base = model(&all, &[("base_score", "0.3")], 2, 3);
    let other_link = model(&all, &[("objective", "count:poisson")], 2, 3);
    for other in [&other_base, &other_link] {
        let refused = averaged(&[part(&plain, &all), part(other, &all)]);
        assert!(matches!(refused, Err(EnsembleError::Unsupported(_))), "{refused:?}");
    }
    let misplaced = averaged(&[part(&plain, &all), part(&plain, &[4, 1, 2, 3, 0])]);
    assert!(matches!(misplaced, Err(EnsembleError::Unsupported(_))));
    let (short, beyond) = ([0, 1], [0, 1, 2, 3, 5]);
    assert!(
        averaged(&[part(&plain, &short)]).is_err()
            && averaged(&[part(&plain, &beyond)]).is_err()
            && averaged(&[]).is_err()
    );
    assert!(averaged(&[part(&plain[..plain.len() - 1], &all)]).is_err());
}
