use std::collections::BTreeMap;

use columns::{ColumnKind, MemoryColumns};
use features::encode::{BadRows, Encoder, FeatureSource};
use polars::prelude::{NamedFrom, Series};

use super::*;

const ROWS: usize = 60;

fn feature(name: &str, kind: Kind, source_kind: ColumnKind) -> Feature {
    let source = FeatureSource::Column(name.to_owned());
    Feature { name: name.to_owned(), kind, source, source_kind }
}

fn levels() -> Vec<String> {
    ["b", "a", "c"].map(str::to_owned).to_vec()
}

/// A number and a category of three levels, of which the last only occurs in the held-out rows.
fn base() -> Features {
    let codes = |rows: usize, levels: usize| (0..rows).map(move |row| (row % levels) as f32);
    let mut train = Array2::zeros((ROWS, 2).f());
    let mut test = Array2::zeros((4, 2).f());
    train.column_mut(1).iter_mut().zip(codes(ROWS, 2)).for_each(|(cell, code)| *cell = code);
    test.column_mut(1).iter_mut().zip([0.0, 1.0, 2.0, f32::NAN]).for_each(|(cell, code)| *cell = code);
    Features {
        features: vec![
            feature("x", Kind::Number, ColumnKind::Float),
            feature("plan", Kind::Category { levels: levels() }, ColumnKind::Text),
        ],
        statistics: vec![Statistics::of_numbers(&[0.0]), Statistics::of_levels(60, 0, 0, &[30, 30, 0])],
        train,
        test,
        tallies: vec![FeatureTally::new(None), FeatureTally::new(None)],
        hints: Vec::new(),
    }
}

fn rows() -> Rows {
    let ids = (0..ROWS).map(|id| id.to_string()).collect();
    Rows { ids, target: (0..ROWS).map(|row| row as f64).collect(), ..Rows::default() }
}

fn scheme(encoding: Encoding) -> EncodingScheme {
    EncodingScheme { name: "test".into(), encodings: vec![None, Some(encoding)] }
}

#[test]
fn held_out_rows_have_exactly_what_scoring_gives() {
    let applied = apply(base(), &scheme(Encoding::ORDINAL.and(Encoding::TARGET)), &rows(), 42);
    let names: Vec<&str> = applied.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["x", "plan", "plan_target"]);
    assert_eq!(applied.features[2].source_column(), Some("plan"));
    let plans = Series::new("plan".into(), [Some("b"), Some("a"), Some("z"), None]);
    let table = MemoryColumns::new(4, vec![plans]);
    let encoder = Encoder::bind(&applied.features, &BTreeMap::new()).unwrap();
    for index in [1, 2] {
        let mut scored = Vec::new();
        encoder.encode(index, &table, &mut scored, &mut FeatureTally::new(None), &mut BadRows::none(4)).unwrap();
        assert_eq!(scored, applied.test.column(index).to_vec());
    }
}

#[test]
fn rows_to_fit_on_have_cross_fitted_means() {
    let applied = apply(base(), &scheme(Encoding::TARGET), &rows(), 42);
    let Kind::Encoded { values, .. } = &applied.features[1].kind else { panic!("not encoded") };
    let fitted = applied.train.column(1).to_vec();
    assert!(fitted.iter().all(|value| !values.contains(value)), "a row's own target is in its feature");
    assert!((fitted[0] - values[0]).abs() < 5.0);
}

#[test]
fn native_categories_stay_as_they_are() {
    let before = base();
    let after = apply(base(), &EncodingScheme::native(&before.features, &Spec::default()), &rows(), 42);
    assert_eq!(after.features, before.features);
    assert_eq!(after.train, before.train);
}

#[test]
fn the_spec_decides_where_it_names_an_encoding() {
    let features = base().features;
    for (given, expected) in [(ColumnEncoding::Native, Encoding::NATIVE), (ColumnEncoding::Target, Encoding::TARGET)] {
        let encoding = BTreeMap::from([("plan".to_owned(), given)]);
        let candidates = EncodingScheme::candidates(&features, &Spec { encoding, ..Spec::default() }, ROWS);
        assert_eq!(candidates.len(), 1);
        assert_eq!(candidates[0].encodings, [None, Some(expected)]);
    }
    assert!(EncodingScheme::candidates(&features, &Spec::default(), ROWS).len() > 3);
}

#[test]
fn levels_that_number_the_rows_are_only_ever_means() {
    let candidates = EncodingScheme::candidates(&base().features, &Spec::default(), 5);
    assert_eq!(candidates.len(), 1);
    assert_eq!(candidates[0].encodings[1], Some(Encoding::TARGET));
}

#[test]
fn a_second_column_gets_a_name_that_no_feature_has() {
    let mut base = base();
    base.features[0].name = "plan_target".to_owned();
    let applied = apply(base, &scheme(Encoding::NATIVE.and(Encoding::TARGET)), &rows(), 42);
    let names: Vec<&str> = applied.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["plan_target", "plan", "plan_target_"]);
}

#[test]
fn a_level_that_was_not_learnt_from_is_judged_as_unknown() {
    let judged = without_unseen(&[0.0, 2.0, f32::NAN], &[0.0, 1.0, 2.0, f32::NAN], 3);
    assert_eq!([judged[0], judged[2]], [0.0, 2.0]);
    assert!(judged[1].is_nan() && judged[3].is_nan());
}

#[test]
fn columns_are_found_in_the_union_of_encodings() {
    let scheme = |name: &'static str, encodings: [Option<Encoding>; 3]| EncodingScheme {
        name: name.into(),
        encodings: encodings.into(),
    };
    let both = Encoding::ORDINAL.and(Encoding::TARGET);
    let left = scheme("left", [Some(Encoding::NATIVE), None, Some(Encoding::TARGET)]);
    let right = scheme("right", [Some(both), None, Some(both)]);
    let union = left.clone().union(&right);
    assert_eq!((union.name.as_ref(), union.width()), ("left + right", 6));
    assert_eq!(left.places_in(&union), [0, 3, 5]);
    assert_eq!(right.places_in(&union), [1, 2, 3, 4, 5]);
    assert_eq!(union.places_in(&union), [0, 1, 2, 3, 4, 5]);
    assert_eq!(union.clone().union(&right), union);
}

#[test]
fn derived_features_that_the_search_thought_of_have_a_column_where_they_are_taken() {
    let mut base = base();
    let (_, source) = (base.features.pop(), FeatureSource::Column("x".to_owned()));
    for name in ["of_the_spec", "of_the_search"] {
        let (name, source) = (name.to_owned(), source.clone());
        base.features.push(Feature { name, kind: Kind::Derived, source, source_kind: ColumnKind::Float });
    }
    let (statistics, tally) = (base.statistics[0].clone(), base.tallies[0].clone());
    let cells = |rows: usize| Array2::from_shape_fn((rows, 3).f(), |(row, column)| (10 * row + column) as f32);
    let spec = Spec::parse("[derived]\nof_the_spec = \"x + 1\"", "").unwrap();
    let base = || Features {
        features: base.features.clone(),
        statistics: vec![statistics.clone(); 3],
        train: cells(ROWS),
        test: cells(4),
        tallies: vec![tally.clone(); 3],
        hints: Vec::new(),
    };

    let candidates = EncodingScheme::candidates(&base().features, &spec, ROWS);
    let [without] = candidates.as_slice() else { panic!("{candidates:?}") };
    let with = without.with_derived().unwrap();
    assert_eq!(
        (without.encodings.as_slice(), with.encodings.as_slice()),
        (&[None, None, Some(Encoding::LEFT_OUT)][..], &[None; 3][..])
    );
    assert_eq!((without.features(), with.features(), without.categories(), with.categories()), (2, 3, 0, 0));
    assert_eq!((without.width(), with.width(), with.with_derived()), (2, 3, None));
    for union in [without.clone().union(&with), with.clone().union(without)] {
        assert_eq!(union.encodings, with.encodings);
        assert_eq!(without.places_in(&union), [0, 1]);
    }
    for (scheme, names) in [(without, &["x", "of_the_spec"][..]), (&with, &["x", "of_the_spec", "of_the_search"][..])] {
        let applied = apply(base(), scheme, &rows(), 42);
        assert_eq!(applied.features.iter().map(|feature| feature.name.as_str()).collect::<Vec<_>>(), names);
        assert_eq!(columns(&applied.train), columns(&cells(ROWS))[..names.len()]);
        assert_eq!(columns(&applied.test), columns(&cells(4))[..names.len()]);
    }
}

#[test]
fn the_foremost_features_are_those_whose_columns_gain_most() {
    let both = Encoding { native: false, ordinal: true, target: true };
    let left_out = Some(Encoding::LEFT_OUT);
    let all = EncodingScheme { name: "all".into(), encodings: vec![None, Some(both), None, left_out] };
    let half = all.foremost(&[2.0, 1.5, 1.0, 0.5], 2);
    assert_eq!((half.name.as_ref(), &half.encodings), ("all, foremost 2", &vec![None, Some(both), left_out, left_out]));
    assert_eq!((half.features(), half.width(), half.places_in(&all)), (2, 3, vec![0, 1, 2]));
    let one = half.foremost(&[1.0, 2.0, 3.0], 1);
    assert_eq!((one.name.as_ref(), one.features()), ("all, foremost 1", 1));
    assert_eq!(one.clone().with_all_of(&all).encodings, all.encodings);
    assert_eq!(one.places_in(&all), [1, 2]);
    // Of those that gain as much the first ones.
    assert_eq!(all.foremost(&[0.0; 4], 1).encodings, [None, left_out, left_out, left_out]);
}
