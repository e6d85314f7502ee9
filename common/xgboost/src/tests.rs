//! The wrapper against the real library.

use scoring::{CheckedModel, CheckedSnapshot};

use super::*;

/// A booster from the bytes of a sound model.
pub(super) fn load(model: &[u8]) -> Booster {
    Booster::load(&CheckedModel::check(model).unwrap()).unwrap()
}

/// Columns with missing values and categories, and a target that depends on both, from a fixed sequence.
pub(super) struct Table {
    pub(super) numbers: Vec<Vec<f32>>,
    pub(super) codes: Vec<f32>,
    pub(super) labels: Vec<f32>,
    pub(super) weights: Vec<f32>,
}

/// The next number of a linear congruential generator, in [0, 1) (Knuth, MMIX constants).
fn next(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let bits = u16::try_from(*state >> 48).unwrap();
    f32::from(bits) / 65536.0
}

impl Table {
    pub(super) fn new(rows: usize, seed: u64) -> Self {
        let mut state = seed;
        let mut numbers = vec![Vec::new(); 4];
        let (mut codes, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rows {
            let mut row: Vec<f32> = (0..4).map(|_| next(&mut state)).collect();
            let code = (next(&mut state) * 6.0).floor();
            let noise = next(&mut state) * 0.1;
            labels.push(0.1 + (row[0] * 3.0).sin().abs() * 0.4 + row[1] * row[2] * 0.3 + code * 0.02 + noise);
            if next(&mut state) < 0.1 {
                row[1] = f32::NAN;
            }
            numbers.iter_mut().zip(&row).for_each(|(column, value)| column.push(*value));
            codes.push(code);
            weights.push(0.5 + next(&mut state));
        }
        Self { numbers, codes, labels, weights }
    }

    pub(super) fn features(categorical: bool) -> Vec<Feature> {
        let number = |index| Feature { name: format!("number {index} ä"), kind: FeatureKind::Number };
        let kind = if categorical { FeatureKind::Category } else { FeatureKind::Number };
        (0..4).map(number).chain([Feature { name: "code".to_owned(), kind }]).collect()
    }

    pub(super) fn columns(&self) -> Vec<Column<'_>> {
        self.numbers.iter().chain([&self.codes]).map(|values| values.as_slice().into()).collect()
    }

    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { columns: self.columns(), labels: Some(&self.labels), weights: Some(&self.weights) }
    }

    pub(super) fn rows(&self, from: usize, to: usize) -> Self {
        let cut = |values: &Vec<f32>| values[from..to].to_vec();
        Self {
            numbers: self.numbers.iter().map(cut).collect(),
            codes: cut(&self.codes),
            labels: cut(&self.labels),
            weights: cut(&self.weights),
        }
    }
}

pub(super) fn options(threads: usize) -> QuantileOptions<'static> {
    QuantileOptions { max_bin: 64, threads, reference: None }
}

pub(super) fn params(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = Params::parse(pairs.iter().copied()).unwrap();
    if all.get("tree_method") != Some("exact") {
        all.set("max_bin", "64").unwrap();
    }
    all.for_booster(1, 7)
}

pub(super) fn trained(params: &[(String, String)], matrix: &DMatrix, rounds: u32) -> Booster {
    let mut booster = Booster::new(params, &[matrix]).unwrap();
    (0..rounds).for_each(|round| booster.update(round, matrix).unwrap());
    booster
}

pub(super) fn rmse(predictions: &[f32], table: &Table) -> f64 {
    let terms = predictions.iter().zip(&table.labels).zip(&table.weights);
    let weighted: f64 = terms.clone().map(|((p, y), w)| f64::from(*w) * (f64::from(*p) - f64::from(*y)).powi(2)).sum();
    let weights: f64 = terms.map(|(_, w)| f64::from(*w)).sum();
    (weighted / weights).sqrt()
}

#[test]
fn the_library_is_the_one_expected_and_others_are_refused() {
    assert_eq!(version(), EXPECTED_VERSION);
    check_version().unwrap();
    assert!(accept((3, 4, 2)).is_ok());
    for other in [(3, 4, 0), (3, 3, 9), (3, 5, 0), (4, 0, 0), (2, 1, 4)] {
        let text = accept(other).unwrap_err().to_string();
        assert!(text.contains(&format!("XGBoost {}.{}.{}", other.0, other.1, other.2)), "{text}");
    }
}

#[test]
fn trains_evaluates_and_predicts_the_same_in_place_and_by_matrix() {
    let (train, valid) = (Table::new(2000, 1), Table::new(500, 2));
    let features = Table::features(true);
    let matrix = DMatrix::quantile(&features, &train.batch(), &options(1)).unwrap();
    let against = QuantileOptions { reference: Some(&matrix), ..options(1) };
    let holdout = DMatrix::quantile(&features, &valid.batch(), &against).unwrap();
    let plain = DMatrix::plain(&features, &valid.batch(), 1).unwrap();
    assert_eq!((matrix.rows(), holdout.rows()), (2000, 500));

    let mut booster = trained(&params(&[("eta", "0.2")]), &matrix, 30);
    let report = booster.evaluate(29, &[(&matrix, "train"), (&holdout, "valid")]).unwrap();
    let names: Vec<_> = report.iter().map(|one| (one.matrix.as_str(), one.metric.as_str())).collect();
    assert_eq!(names, [("train", "rmse"), ("valid", "rmse")]);

    let in_place = booster.predict_columns(&valid.columns(), 0..0).unwrap();
    let by_bins = booster.predict_matrix(&holdout, PredictionKind::Value, 0..0).unwrap();
    let by_values = booster.predict_matrix(&plain, PredictionKind::Value, 0..0).unwrap();
    assert_eq!(in_place, by_values);
    assert_eq!(in_place, by_bins);
    assert!((rmse(&in_place, &valid) - report[1].value).abs() < 1e-6);
    assert!(report[0].value < 0.05 && report[1].value < 0.07, "{report:?}");

    let some = booster.predict_columns(&valid.columns(), 0..10).unwrap();
    let sliced = booster.slice(0..10).unwrap().predict_columns(&valid.columns(), 0..0).unwrap();
    assert_eq!(some, sliced);
    assert_ne!(some, in_place);
}

#[test]
fn contributions_sum_to_the_margin() {
    let table = Table::new(300, 3);
    let matrix = DMatrix::plain(&Table::features(true), &table.batch(), 1).unwrap();
    let booster = trained(&params(&[]), &matrix, 8);
    let margins = booster.predict_matrix(&matrix, PredictionKind::Margin, 0..0).unwrap();
    let shap = booster.predict_matrix(&matrix, PredictionKind::Contributions, 0..0).unwrap();
    assert_eq!(shap.len(), 300 * 6);
    for (row, margin) in shap.chunks_exact(6).zip(&margins) {
        assert!((row.iter().sum::<f32>() - margin).abs() < 1e-4);
    }
}

#[test]
fn a_model_keeps_its_names_and_predictions_through_bytes() {
    let table = Table::new(400, 4);
    let features = Table::features(true);
    let matrix = DMatrix::quantile(&features, &table.batch(), &options(1)).unwrap();
    let mut booster = trained(&params(&[]), &matrix, 6);
    let bytes = booster.save().unwrap();
    let mut loaded = load(&bytes);
    assert_eq!(loaded.save().unwrap(), bytes);
    assert_eq!(loaded.rounds().unwrap(), 6);
    let scores = booster.feature_scores(Importance::Weight).unwrap();
    assert_eq!(loaded.feature_scores(Importance::Weight).unwrap(), scores);
    assert!(scores.iter().all(|(name, _)| features.iter().any(|feature| feature.name == *name)), "{scores:?}");
    let columns = table.columns();
    assert_eq!(loaded.predict_columns(&columns, 0..0).unwrap(), booster.predict_columns(&columns, 0..0).unwrap());
}

#[test]
fn importance_names_the_features_that_matter() {
    let table = Table::new(1000, 5);
    let matrix = DMatrix::quantile(&Table::features(true), &table.batch(), &options(1)).unwrap();
    let mut booster = trained(&params(&[("max_depth", "2")]), &matrix, 3);
    for importance in
        [Importance::Gain, Importance::TotalGain, Importance::Weight, Importance::Cover, Importance::TotalCover]
    {
        let scores = booster.feature_scores(importance).unwrap();
        assert!(scores.iter().all(|(name, score)| name != "number 3 ä" && *score > 0.0), "{scores:?}");
        assert!(scores.iter().any(|(name, _)| name == "number 0 ä"));
    }
}

#[test]
fn one_booster_predicts_on_many_threads_at_once() {
    let table = Table::new(700, 6);
    let matrix = DMatrix::quantile(&Table::features(true), &table.batch(), &options(1)).unwrap();
    let mut booster = trained(&params(&[]), &matrix, 10);
    let mut booster = load(&booster.save().unwrap());
    booster.set_threads(1).unwrap();
    let all = booster.predict_columns(&table.columns(), 0..0).unwrap();
    std::thread::scope(|scope| {
        for part in 0..8 {
            let (booster, table, all) = (&booster, &table, &all);
            scope.spawn(move || {
                let rows = table.rows(part * 50, part * 50 + 300);
                for _ in 0..50 {
                    let some = booster.predict_columns(&rows.columns(), 0..0).unwrap();
                    assert_eq!(some, all[part * 50..part * 50 + 300]);
                }
            });
        }
    });
}

#[test]
fn what_xgboost_refuses_is_an_error_of_one_line() {
    let table = Table::new(50, 11);
    let features = Table::features(false);
    let matrix = DMatrix::quantile(&features, &table.batch(), &options(1)).unwrap();
    let mut booster = Booster::new(&[("max_depth".to_owned(), "deep".to_owned())], &[&matrix]).unwrap();
    let text = booster.update(0, &matrix).unwrap_err().to_string();
    assert!(text.starts_with("XGBoost could not train a round: ") && text.contains("max_depth"), "{text}");
    assert!(!text.contains('\n') && !text.contains("Stack trace") && !text.contains(".cc:"), "{text}");

    let mut booster = trained(&params(&[]), &matrix, 2);
    assert!(booster.predict_columns(&table.columns()[..3], 0..0).is_err());
    assert!(booster.predict_columns(&table.columns(), 0..9).is_err());
    assert!(booster.predict_columns(&[], 0..0).unwrap().is_empty());
    assert_eq!(booster.slice(0..3).unwrap_err().to_string(), "no rounds 0..3 in a model of 2");
    assert!(booster.slice(1..1).is_err());
    assert!(Booster::new(&[], &[]).is_err());
    let other = DMatrix::quantile(&Table::features(true), &table.batch(), &options(1)).unwrap();
    assert!(Booster::new(&[], &[&matrix, &other]).is_err());
}

#[test]
fn bytes_that_are_no_model_are_refused_without_harm() {
    for bytes in [b"".as_slice(), b"{", b"   ", b"nonsense", b"{}", b"{ }", b"{\"learner\":1}", b"{L\x05abcde}"] {
        assert!(CheckedModel::check(bytes).is_err(), "{bytes:?}");
        assert!(CheckedSnapshot::check(bytes).is_err(), "{bytes:?}");
    }
    let table = Table::new(100, 12);
    let matrix = DMatrix::quantile(&Table::features(true), &table.batch(), &options(1)).unwrap();
    let mut booster = trained(&params(&[]), &matrix, 2);
    let (model, snapshot) = (booster.save().unwrap(), booster.serialize().unwrap());
    for length in 0..model.len() {
        assert!(CheckedModel::check(&model[..length]).is_err(), "{length} of {}", model.len());
    }
    for length in (0..snapshot.len()).step_by(13) {
        assert!(CheckedSnapshot::check(&snapshot[..length]).is_err(), "{length} of {}", snapshot.len());
    }
    assert!(CheckedSnapshot::check(&model).is_err(), "a model is no snapshot");
}

#[test]
fn targets_and_weights_that_an_objective_does_not_take_are_wrong_data() {
    let feature = [Feature { name: "x".to_owned(), kind: FeatureKind::Number }];
    let values = [1.0_f32, 2.0, 3.0, 4.0];
    let refused = |objective: &str, labels: &[f32], weights: Option<&[f32]>| {
        let batch = Batch { columns: vec![values.as_slice().into()], labels: Some(labels), weights };
        let trained = DMatrix::quantile(&feature, &batch, &options(1))
            .and_then(|matrix| Booster::new(&params(&[("objective", objective)]), &[&matrix])?.update(0, &matrix));
        ::error::Error::from(trained.expect_err(objective))
    };
    let negative = [1.0, -2.0, 3.0, 4.0];
    for objective in ["reg:logistic", "reg:gamma", "reg:tweedie", "count:poisson", "reg:squaredlogerror"] {
        let error = refused(objective, &negative, None);
        assert_eq!(error.exit_code(), 4, "{objective}: {error}");
    }
    let error = refused("reg:squarederror", &values, Some(&negative));
    assert_eq!(error.exit_code(), 4, "{error}");
}
