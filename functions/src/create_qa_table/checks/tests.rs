use super::*;

fn facts() -> Facts {
    Facts {
        run_id: "r-2".to_owned(),
        model_version: "v1".to_owned(),
        model_run_id: "r-2".to_owned(),
        is_published: true,
        trained_version: "v1".to_owned(),
        r2: Some(0.8),
        rows_of_manifest: Some(990.0),
        rows_predicted: Some(990.0),
        rows_read: Some(1000.0),
        rows_rejected: Some(10.0),
        customers: Some(1000.0),
        data_quality: Some(0.99),
        max_drift: Some(0.1),
    }
}

fn figures() -> Figures {
    Figures {
        rows: 990,
        ids: 990,
        nulls: 0,
        infinite: 0,
        of_other_models: 0,
        mean: Some(0.5),
        std: Some(0.2),
        edges: vec![0.4, 0.6],
        counts: vec![330, 330, 330],
        in_last_bins: Some(vec![330, 330, 330]),
    }
}

fn last() -> RunFigures {
    RunFigures {
        run_id: "r-1".to_owned(),
        checked_at: String::new(),
        passed: true,
        model_version: "v1".to_owned(),
        model_run_id: "r-1".to_owned(),
        r2: Some(0.8),
        rows: 900,
        rows_rejected: Some(0.0),
        mean: Some(0.5),
        std: Some(0.2),
        data_quality: None,
        max_drift: None,
        edges: vec![0.4, 0.6],
        counts: vec![300, 300, 300],
    }
}

fn settings() -> Settings {
    Settings::read(|name| match name {
        "BUCKET" => Some("lake".to_owned()),
        "MAX_REJECT_WARNING" => Some("0.02".to_owned()),
        _ => None,
    })
    .unwrap()
}

/// Names and severities of the checks that failed.
fn failed(facts: &Facts, figures: &Figures, last: Option<&RunFigures>) -> Vec<(String, Severity)> {
    let checks = check(facts, figures, last, &settings());
    let failed = checks.into_iter().filter(|check| check.passed == Some(false));
    failed.map(|check| (check.check, check.severity)).collect()
}

#[test]
fn a_sound_run_passes_with_and_without_a_run_before() {
    assert_eq!(failed(&facts(), &figures(), Some(&last())), []);
    assert_eq!(failed(&facts(), &figures(), None), []);
    let checks = check(&facts(), &figures(), None, &settings());
    let open: Vec<_> = checks.iter().filter(|check| check.passed.is_none()).map(|check| check.check.as_str()).collect();
    assert_eq!(open, ["prediction_psi", "prediction_psi", "mean_shift"]);
}

#[test]
fn each_fault_fails_its_check() {
    use Severity::{Fail, Warn};
    type Fault = fn(&mut Facts, &mut Figures);
    let faults: [(&str, Severity, Fault); 16] = [
        ("rows_match_manifest", Fail, |facts, _| facts.rows_of_manifest = Some(991.0)),
        ("rows_match_result", Fail, |facts, _| {
            facts.rows_predicted = Some(989.0);
            facts.rows_rejected = Some(11.0);
        }),
        ("rows_read_add_up", Fail, |facts, _| facts.rows_rejected = Some(9.0)),
        ("rows_read_match_customers", Fail, |facts, _| facts.customers = Some(1001.0)),
        ("rows_read_match_customers", Fail, |facts, _| facts.customers = None),
        ("missing_predictions", Fail, |_, figures| figures.nulls = 1),
        ("infinite_predictions", Fail, |_, figures| figures.infinite = 1),
        ("repeated_ids", Fail, |_, figures| figures.ids = 989),
        ("rows_of_other_models", Fail, |_, figures| figures.of_other_models = 1),
        ("model_is_this_runs", Fail, |facts, _| facts.model_run_id = "r-1".to_owned()),
        ("spread", Fail, |_, figures| figures.std = Some(0.0)),
        ("r2", Fail, |facts, _| facts.r2 = Some(0.7)),
        ("mean_shift", Warn, |_, figures| figures.mean = Some(0.61)),
        ("drift", Warn, |facts, _| facts.max_drift = Some(0.21)),
        ("data_quality", Warn, |facts, _| facts.data_quality = Some(0.8)),
        ("prediction_psi", Warn, |_, figures| figures.in_last_bins = Some(vec![550, 220, 220])),
    ];
    for (name, severity, fault) in faults {
        let (mut facts, mut figures) = (facts(), figures());
        fault(&mut facts, &mut figures);
        assert_eq!(failed(&facts, &figures, Some(&last())), [(name.to_owned(), severity)], "{name}");
    }
}

#[test]
fn predictions_of_another_kind_fail() {
    let figures = Figures { in_last_bins: Some(vec![900, 45, 45]), ..figures() };
    let psi = |severity| ("prediction_psi".to_owned(), severity);
    assert_eq!(failed(&facts(), &figures, Some(&last())), [psi(Severity::Fail), psi(Severity::Warn)]);
}

#[test]
fn rejects_beyond_the_limit_are_a_warning() {
    let facts = Facts {
        rows_predicted: Some(990.0),
        rows_read: Some(1040.0),
        rows_rejected: Some(50.0),
        customers: Some(1040.0),
        ..facts()
    };
    assert_eq!(failed(&facts, &figures(), None), [("rejected_share".to_owned(), Severity::Warn)]);
}

#[test]
fn the_gate_of_a_rejected_model_is_not_asked_again() {
    let facts = Facts { is_published: false, r2: Some(0.1), model_run_id: "r-0".to_owned(), ..facts() };
    assert_eq!(failed(&facts, &figures(), None), []);
}

#[test]
fn a_check_in_words_says_what_was_wanted() {
    let facts = Facts { r2: Some(0.7), rows_of_manifest: Some(30_000.0), max_drift: Some(0.31), ..facts() };
    let checks = check(&facts, &figures(), None, &settings());
    let words = |name: &str| checks.iter().find(|check| check.check == name).unwrap().in_words();
    assert_eq!(words("r2"), "r2: 0.7, at least 0.75");
    assert_eq!(words("rows_match_manifest"), "rows_match_manifest: 990, expected 30000");
    assert_eq!(words("drift"), "drift: 0.31, at most 0.2");
}
