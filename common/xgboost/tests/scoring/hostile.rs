//! Models that were tampered with: refused, or scored as XGBoost scores them.

use scoring::{CheckedSnapshot, Ensemble, EnsembleError, InstructionSet, Scorer};

use super::random::{self, Random};
use super::xgb::{Booster, Matrix, Table};

fn model(rounds: i32) -> (Table, Vec<u8>) {
    let random = &mut Random(7);
    let table = random::table(random, 2000, 4, &[5, 30], 0.2);
    let labels = random::labels(random, &table);
    let parameters = [("max_depth", "4".into()), ("nthread", "1".into())];
    let booster = Booster::train(&Matrix::new(&table, &labels), &parameters, rounds);
    (table, booster.model())
}

/// Where the values of the `nth` array of this name start.
fn array(model: &[u8], name: &str, nth: usize) -> usize {
    let start = |start: &usize| model[*start..].starts_with(name.as_bytes()) && model[start + name.len()] == b'[';
    (0..model.len() - name.len()).filter(start).nth(nth).unwrap() + name.len() + "[$d#L12345678".len()
}

/// The model with one value of a typed array replaced.
fn with(model: &[u8], name: &str, index: usize, value: i32) -> Vec<u8> {
    let mut changed = model.to_vec();
    let at = array(model, name, 0) + 4 * index;
    changed[at..at + 4].copy_from_slice(&value.to_be_bytes());
    changed
}

fn is_damaged(model: &[u8]) -> bool {
    matches!(Ensemble::from_ubj(model), Err(EnsembleError::Damaged(_)))
}

#[test]
fn indices_that_lead_astray_are_refused() {
    let (_, model) = model(2);
    assert!(Ensemble::from_ubj(&model).is_ok());
    for wrong in [0, -2, i32::MAX, i32::MIN, 1000] {
        for name in ["left_children", "right_children"] {
            assert!(is_damaged(&with(&model, name, 0, wrong)), "{name} {wrong}");
        }
    }
    // A cycle, a shared child, a parent that is not one.
    assert!(is_damaged(&with(&model, "left_children", 1, 1)));
    assert!(is_damaged(&with(&model, "left_children", 1, 2)));
    assert!(is_damaged(&with(&model, "right_children", 0, 1)));
    for wrong in [-1, 2, 1000, i32::MAX] {
        assert!(is_damaged(&with(&model, "parents", 1, wrong)), "{wrong}");
    }
    for wrong in [6, -1, i32::MAX] {
        assert!(is_damaged(&with(&model, "split_indices", 0, wrong)), "{wrong}");
    }
    for wrong in [-1, 1 << 24, i32::MAX] {
        assert!(is_damaged(&with(&model, "categories", 0, wrong)), "{wrong}");
    }
    for wrong in [-1, 1000] {
        assert!(is_damaged(&with(&model, "categories_nodes", 0, wrong)), "{wrong}");
    }
}

#[test]
fn segments_of_categories_are_checked() {
    let (_, model) = model(1);
    for name in ["categories_segments", "categories_sizes"] {
        for wrong in [-1_i64, 1 << 20, i64::MAX] {
            let mut changed = model.clone();
            let at = array(&model, name, 0);
            changed[at..at + 8].copy_from_slice(&wrong.to_be_bytes());
            assert!(is_damaged(&changed), "{name} {wrong}");
        }
    }
}

#[test]
fn texts_are_checked() {
    let (_, model) = model(1);
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = (0..model.len()).find(|at| model[*at..].starts_with(from.as_bytes())).unwrap();
        let mut changed = model.clone();
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        changed
    };
    assert!(is_damaged(&replaced("base_score", "base_scare")));
    assert!(is_damaged(&replaced("num_class", "num_clash")));
    assert!(is_damaged(&replaced("tree_info", "tree_inf\0")));
    let foreign = |model: &[u8]| matches!(Ensemble::from_ubj(model), Err(EnsembleError::Foreign(_)));
    assert!(foreign(&replaced("gbtree}", "gbforl}")));
}

#[test]
fn truncated_models_are_refused() {
    let (_, model) = model(2);
    assert!((0..model.len()).all(|length| is_damaged(&model[..length])));
}

/// A flipped bit anywhere gives an error, or a model that XGBoost refuses or scores alike.
#[test]
fn any_bit_may_be_wrong() {
    const ROWS: usize = 64;
    let (table, model) = model(2);
    let head: Vec<&[f32]> = table.columns.iter().map(|column| &column[..ROWS]).collect();
    let (mut expected, mut predicted) = ([0.0; ROWS], [0.0; ROWS]);
    let mut compared = 0;
    for at in 0..8 * model.len() {
        let mut changed = model.clone();
        changed[at / 8] ^= 1 << (at % 8);
        let ensemble = Ensemble::from_ubj(&changed);
        // One bit of every byte is also shown to XGBoost.
        let (Ok(ensemble), true) = (ensemble, at % 8 == at / 8 % 8) else {
            continue;
        };
        let (Ok(scorer), Some(booster)) = (Scorer::compile(&ensemble), Booster::try_load(&changed)) else {
            continue;
        };
        let fits = scorer.n_features() == head.len();
        if fits && booster.try_predict(&head, &mut expected) == 0 {
            scorer.predict(&head, &mut predicted);
            assert_eq!(expected.map(f32::to_bits), predicted.map(f32::to_bits), "bit {at}");
            compared += 1;
        }
    }
    assert!(compared > 500, "{compared}");
}

/// What passes the check loads in XGBoost and is scored alike, whatever the thresholds are.
#[test]
fn odd_thresholds_are_scored_alike() {
    let (table, model) = model(3);
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, 1e-45, -1e-45, f32::MAX, f32::MIN, 1.0, 2.0];
    let random = &mut Random(9);
    let mut compared = 0;
    for _ in 0..30 {
        let mut changed = model.clone();
        for tree in 0..3 {
            let at = array(&model, "split_conditions", tree);
            for node in 0..7 {
                if random.chance(0.4) {
                    continue;
                }
                let value = values[random.below(values.len())];
                changed[at + 4 * node..][..4].copy_from_slice(&value.to_be_bytes());
            }
            let directions = array(&model, "default_left", tree);
            (0..7).for_each(|node| changed[directions + node] = random.below(2) as u8);
        }
        let Ok(ensemble) = Ensemble::from_ubj(&changed) else { panic!("a sound model") };
        let booster = Booster::load(&changed);
        let mut rows = table.clone();
        for cell in rows.columns.iter_mut().flatten() {
            *cell = if random.chance(0.3) { values[random.below(values.len())] } else { *cell };
        }
        let (mut expected, mut predicted) = (vec![0.0; 2000], vec![0.0; 2000]);
        booster.predict(&rows.slices(), &mut expected);
        for instructions in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            // A shallow tree's leaf may have become infinite, which is not covered.
            let Ok(scorer) = Scorer::compile_for(&ensemble, instructions) else {
                continue;
            };
            scorer.predict(&rows.slices(), &mut predicted);
            let equal = expected.iter().zip(&predicted).all(|(one, other)| one.to_bits() == other.to_bits());
            assert!(equal, "{instructions:?}");
            compared += 1;
        }
    }
    assert!(compared >= 20, "{compared}");
}

/// A snapshot holds a model, which is checked as one that stands alone.
#[test]
fn snapshots_with_a_damaged_model_are_refused() {
    let (_, model) = model(2);
    let name = |name: &str| [b"L".as_slice(), &(name.len() as u64).to_be_bytes(), name.as_bytes()].concat();
    let snapshot = |model: &[u8]| [b"{", &name("Config")[..], b"{}", &name("Model"), model, b"}"].concat();
    let refused = |bytes: &[u8]| CheckedSnapshot::check(bytes).is_err();
    let whole = snapshot(&model);
    assert!(!refused(&whole), "{:?}", CheckedSnapshot::check(&whole));
    assert!(refused(&model) && refused(&whole[..whole.len() - 1]));
    assert!(refused(&snapshot(&with(&model, "left_children", 0, 1000))));
    assert!(refused(&snapshot(&with(&model, "split_indices", 0, 6))));
}
