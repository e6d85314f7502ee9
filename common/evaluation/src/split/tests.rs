use proptest::prelude::*;

use super::*;

fn hold_out() -> HoldOut {
    HoldOut { fraction: 0.2, seed: 42 }
}

fn keys(instants: Option<&[f64]>, groups: Option<&[u64]>) -> RowKeys {
    RowKeys { instants: instants.map(<[f64]>::to_vec), groups: groups.map(<[u64]>::to_vec), gap: 0.0 }
}

fn counted(sides: &Sides, side: Side) -> usize {
    sides.of_rows.iter().filter(|of| **of == side).count()
}

#[test]
fn the_random_split_follows_the_contracts_formula() {
    let expected = xxh3_64_with_seed(b"7", 42) as f64 / 18_446_744_073_709_551_616.0 < 0.2;
    assert_eq!(hold_out().holds_id("7"), expected);
    let held_out = (0..10_000).filter(|id| hold_out().holds_id(&id.to_string())).count();
    assert!((1_800..2_200).contains(&held_out), "{held_out}");
    assert!(!HoldOut { fraction: 0.0, ..hold_out() }.holds_id("7"));
    assert!(HoldOut { fraction: 1.0, ..hold_out() }.holds_id("7"));
}

#[test]
fn as_few_of_the_newest_instants_as_make_up_the_fraction_are_held_out() {
    let instants: Vec<f64> = (0..30).map(f64::from).collect();
    let sides = HoldOut { fraction: 0.1, ..hold_out() }.sides(&keys(Some(&instants), None));
    assert_eq!((counted(&sides, Side::HeldOut), sides.cut_off), (3, Some(27.0)));
    // Rows of one instant are never parted.
    let tied = [1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0];
    let sides = hold_out().sides(&keys(Some(&tied), None));
    assert_eq!((counted(&sides, Side::HeldOut), counted(&sides, Side::Training)), (4, 3));
    let one = hold_out().sides(&keys(Some(&[5.0; 4]), None));
    assert_eq!(counted(&one, Side::HeldOut), 4);
    let none = HoldOut { fraction: 0.0, ..hold_out() }.sides(&keys(Some(&instants), None));
    assert_eq!((counted(&none, Side::HeldOut), none.cut_off), (0, None));
}

#[test]
fn rows_as_close_as_the_gap_are_used_by_neither_side() {
    let instants: Vec<f64> = (0..10).map(f64::from).collect();
    let sides = hold_out().sides(&RowKeys { gap: 3.0, ..keys(Some(&instants), None) });
    assert_eq!(sides.cut_off, Some(8.0));
    let neither: Vec<usize> = (0..10).filter(|&row| sides.of_rows[row] == Side::Neither).collect();
    assert_eq!(neither, [5, 6, 7], "5 is older by 3, which is not more than the gap");
}

#[test]
fn by_both_new_rows_of_held_out_groups_judge_and_old_rows_of_others_are_trained_on() {
    let groups: Vec<u64> = (0..4_000).map(|row| group_key(Some(&(row % 200).to_string()), "", 42)).collect();
    let instants: Vec<f64> = (0..4_000).map(f64::from).collect();
    let sides = hold_out().sides(&keys(Some(&instants), Some(&groups)));
    let held_out = counted(&sides, Side::HeldOut);
    assert!((100..220).contains(&held_out), "about 0.04 of the rows: {held_out}");
    for (row, side) in sides.of_rows.iter().enumerate() {
        let (is_new, is_apart) = (instants[row] >= 3_200.0, unit(groups[row]) < 0.2);
        let expected = match (is_new, is_apart) {
            (true, true) => Side::HeldOut,
            (false, false) => Side::Training,
            _ => Side::Neither,
        };
        assert_eq!(*side, expected, "{row}");
    }
}

#[test]
fn a_row_without_a_group_is_a_group_of_its_own() {
    assert_ne!(group_key(None, "a", 1), group_key(None, "b", 1));
    assert_ne!(group_key(None, "a", 1), group_key(Some("a"), "b", 1));
    assert_eq!(group_key(Some("a"), "x", 1), group_key(Some("a"), "y", 1));
}

#[test]
fn few_groups_leave_no_part_empty() {
    for count in 2..12_u64 {
        let groups: Vec<u64> = (0..600).map(|row| group_key(Some(&(row % count).to_string()), "", 7)).collect();
        let folds = InnerFolds::new(&[], &keys(None, Some(&groups)), 7, FOLDS).folds();
        assert_eq!(folds.len() as u64, count.min(5), "{count} groups");
    }
    let one = InnerFolds::new(&[], &keys(None, Some(&[3; 50])), 7, FOLDS);
    assert!(one.folds().is_empty());
}

/// Rows with instants that tie and groups of very different sizes, with or without either.
fn rows() -> impl Strategy<Value = (Vec<String>, RowKeys, u64)> {
    let row = (0_u32..60, 0_u32..4_000);
    (proptest::collection::vec(row, 2..200), 0..3_u8, any::<u64>(), 0_u32..8).prop_map(|(rows, by, seed, gap)| {
        let ids: Vec<String> = (0..rows.len()).map(|id| id.to_string()).collect();
        let instants = rows.iter().map(|(instant, _)| f64::from(*instant)).collect();
        // A square root makes the first groups the largest.
        let group = |group: u32| group_key(Some(&f64::from(group).sqrt().floor().to_string()), "", seed);
        let groups = rows.iter().map(|(_, text)| group(*text)).collect();
        let keys = RowKeys {
            instants: (by != 1).then_some(instants),
            groups: (by != 0).then_some(groups),
            gap: f64::from(gap),
        };
        (ids, keys, seed)
    })
}

/// Whether a row may be learnt from to judge another one.
fn may_teach(keys: &RowKeys, teacher: usize, judge: usize) -> bool {
    let (teacher, judge) = (keys.get(teacher), keys.get(judge));
    let is_older = keys.instants.is_none() || judge.instant - teacher.instant > keys.gap;
    is_older && (keys.groups.is_none() || teacher.group != judge.group)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_row_is_judged_by_what_it_depends_on((ids, keys, seed) in rows(), folds in 1_u8..=5) {
        let of_rows = HoldOut { fraction: 0.3, seed }.sides(&keys).of_rows;
        let on = |side: Side| (0..ids.len()).filter(|&row| of_rows[row] == side).collect::<Vec<_>>();
        for &judge in &on(Side::HeldOut) {
            prop_assert!(on(Side::Training).iter().all(|&teacher| may_teach(&keys, teacher, judge)));
        }
        let named: Vec<&str> = ids.iter().map(String::as_str).collect();
        let inner = InnerFolds::new(&named, &keys, seed, folds);
        prop_assert!(inner.folds().len() <= usize::from(folds));
        let mut judged = vec![0; ids.len()];
        for (fold, count) in inner.folds() {
            let (training, validation) = inner.split(fold);
            prop_assert_eq!(training.len(), count);
            for &judge in &validation {
                judged[judge] += 1;
                prop_assert!(training.iter().all(|&teacher| may_teach(&keys, teacher, judge)));
            }
        }
        prop_assert!(judged.iter().all(|times| *times <= 1), "a row judges once at most");
    }

    #[test]
    fn the_order_of_rows_has_no_part_in_a_split((ids, keys, seed) in rows()) {
        let backwards: Vec<usize> = (0..ids.len()).rev().collect();
        let turned = keys.picked(&backwards);
        let hold_out = HoldOut { fraction: 0.3, seed };
        let mut sides = hold_out.sides(&turned).of_rows;
        sides.reverse();
        prop_assert_eq!(sides, hold_out.sides(&keys).of_rows);
        let inner = InnerFolds::new(&[], &keys, seed, 5);
        let other = InnerFolds::new(&[], &turned, seed, 5);
        prop_assert_eq!(inner.folds(), other.folds());
        for (fold, _) in inner.folds() {
            let turned = |rows: Vec<usize>| rows.into_iter().rev().map(|row| backwards[row]).collect::<Vec<_>>();
            let (training, validation) = other.split(fold);
            prop_assert_eq!((turned(training), turned(validation)), inner.split(fold));
        }
    }

    #[test]
    fn no_mean_knows_the_future_or_its_own_group((ids, keys, seed) in rows()) {
        let folds = CrossFolds::of_keys(&keys, seed);
        for reader in 0..ids.len() {
            for writer in 0..ids.len() {
                let (read, added) = (folds.reads[reader], folds.adds()[writer]);
                let sees = if folds.blocks == 0 {
                    read != added
                } else {
                    added / folds.folds <= read / folds.folds && (folds.folds == 1 || added % folds.folds != read % folds.folds)
                };
                prop_assert!(!sees || may_teach(&keys, writer, reader));
            }
        }
    }
}
