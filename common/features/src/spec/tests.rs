use super::*;
use crate::derive::ValueType;

const FULL: &str = r#"
id = "customer_id"
target = "engagement_score"
exclude = ["churn_30_day"]
categorical = ["postcode"]
weight = "exposure"
max_levels = 500
clip = true
as_of = "2026-01-31"

[derived]
zeta = "matches / NULLIF(swipes, 0)"
alpha = "ABS(balance)"
"größe in m" = "\"größe in cm\" / 100"

[ranges]
engagement_score = { min = 0, max = 1 }
age = { min = 18 }

[monotone]
sessions = 1
"größe in m" = -1

[model]
max_depth = 6
eta = 0.05
lambda = 1e-7
gamma = 1.0
grow_policy = "lossguide"
interaction_constraints = "[[0,1]]"
refresh = true

[encoding]
postcode = "target"
"#;

fn failure(text: &str) -> String {
    match Spec::parse(text, "features.toml") {
        Err(Error::Setting(message)) => {
            assert!(!message.contains('\n'), "{message}");
            assert!(message.starts_with("features.toml"), "{message}");
            message
        }
        other => panic!("{text}: {other:?}"),
    }
}

fn fails_with(text: &str, expected: &[&str]) {
    let message = failure(text);
    for part in expected {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn every_key_is_read() {
    let spec = Spec::parse(FULL, "features.toml").unwrap();
    assert_eq!(spec.id.as_deref(), Some("customer_id"));
    assert_eq!(spec.target.as_deref(), Some("engagement_score"));
    assert_eq!(spec.exclude, ["churn_30_day"]);
    assert_eq!(spec.categorical, ["postcode"]);
    assert_eq!(spec.weight.as_deref(), Some("exposure"));
    assert_eq!(spec.max_levels, 500);
    assert!(spec.clip);
    assert_eq!(spec.as_of.as_ref().unwrap().days(), 20_484.0);
    assert_eq!(spec.derived.iter().map(Expression::name).collect::<Vec<_>>(), ["zeta", "alpha", "größe in m"]);
    assert_eq!(spec.derived[2].columns(), ["größe in cm"]);
    assert_eq!(spec.ranges["engagement_score"], Range { min: Some(0.0), max: Some(1.0) });
    assert_eq!(spec.ranges["age"], Range { min: Some(18.0), max: None });
    assert_eq!(spec.monotone["sessions"], Monotone::Increasing);
    assert_eq!(spec.monotone["größe in m"].sign(), -1);
    assert_eq!(spec.encoding_of("postcode"), ColumnEncoding::Target);
    assert_eq!(spec.encoding_of("plan"), ColumnEncoding::Auto);
}

#[test]
fn parameters_are_text_that_parses_back() {
    let model = Spec::parse(FULL, "").unwrap().model;
    let expected = [
        ("eta", "0.05"),
        ("gamma", "1"),
        ("grow_policy", "lossguide"),
        ("interaction_constraints", "[[0,1]]"),
        ("lambda", "1e-7"),
        ("max_depth", "6"),
        ("refresh", "true"),
    ];
    assert!(model.iter().map(|(name, text)| (name.as_str(), text.as_str())).eq(expected));
}

#[test]
fn a_spec_survives_the_way_through_metadata_json() {
    let spec = Spec::parse(FULL, "").unwrap();
    let json = serde_json::to_string(&spec).unwrap();
    let again: Spec = serde_json::from_str(&json).unwrap();
    assert_eq!(again, spec);
    assert_eq!(serde_json::to_string(&again).unwrap(), json);
    assert!(json.find("zeta").unwrap() < json.find("alpha").unwrap(), "{json}");
    let toml = toml::to_string(&spec).unwrap();
    assert_eq!(Spec::parse(&toml, "").unwrap(), spec);
}

#[test]
fn an_empty_spec_is_the_default() {
    let spec = Spec::parse("", "").unwrap();
    assert_eq!(spec, Spec::default());
    assert_eq!((spec.max_levels, spec.clip), (10_000, false));
    assert_eq!(serde_json::from_str::<Spec>("{}").unwrap(), spec);
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    fails_with("id = \"a\"\nexlude = []", &["line 2", "`exlude`", "`exclude`"]);
    fails_with("[Derived]\na = \"b\"", &["line 1", "`Derived`", "`derived`"]);
    fails_with("max-levels = 3", &["`max-levels`", "`max_levels`"]);
    fails_with("max_depth = 6", &["`max_depth`", "the keys are id, target"]);
    fails_with("[ranges]\nage = { mni = 1 }", &["line 2", "ranges.age", "`mni`", "`min`"]);
    assert!(serde_json::from_str::<Spec>(r#"{"unknown": 1}"#).is_err());
}

#[test]
fn a_wrong_value_is_named_with_line_and_key() {
    fails_with("\n\nmax_levels = \"many\"", &["line 3", "max_levels", "integer"]);
    fails_with("max_levels = 0", &["max_levels", "at least 1"]);
    fails_with("clip = 1", &["clip", "boolean"]);
    fails_with("exclude = \"a\"", &["line 1", "exclude", "expected a list"]);
    fails_with("as_of = \"yesterday\"", &["line 1", "as_of: ", "yesterday", "yyyy-mm-dd"]);
    fails_with("as_of = 5", &["as_of", "a date"]);
    fails_with("[ranges]\na = {}\n", &["line 2", "ranges.a", "min, max or both"]);
    fails_with("[ranges]\na = { min = 2, max = 1 }", &["ranges.a", "above"]);
    fails_with("[ranges]\na = { min = nan }", &["ranges.a", "finite"]);
    fails_with("[ranges.a]\nmin = \"x\"", &["line 2", "ranges.a.min"]);
    fails_with("[monotone]\nb = 0\na = 2", &["line 3", "monotone.a", "-1, 0 or 1"]);
    fails_with("[model]\neval_metric = [\"rmse\"]", &["model.eval_metric", "write a list as a text"]);
    fails_with("[model]\neta = inf", &["model.eta", "finite"]);
    fails_with("[encoding]\ncity = \"onehot\"", &["encoding.city", "onehot", "native"]);
    fails_with("[derived]\na = 5", &["line 2", "derived.a", "string"]);
}

#[test]
fn a_wrong_expression_is_named_with_line_and_feature() {
    fails_with("[derived]\na = \"b\"\nc = \"SUM(d)\"", &["line 3", "`c`", "SUM is an aggregate"]);
    fails_with("[derived]\na = \"b +\"", &["line 2", "`a`", "not a valid SQL expression"]);
    fails_with("target = \"y\"\n[derived]\na = \"x / y\"", &["`a`", "the target `y`"]);
    fails_with("[derived]\na = \"x\"\nb = \"a + 1\"", &["`b`", "the derived feature `a`", "input columns only"]);
    fails_with("[derived]\na = \"a * 2\"", &["derived feature `a` reads a column of its own name"]);
    fails_with("[derived]\n\"\" = \"a\"", &["a name of its own"]);
}

#[test]
fn text_that_is_not_toml_is_named_with_its_line() {
    fails_with("id = \"a\"\ntarget = ", &["line 2", "not valid TOML"]);
    fails_with("id = \"a\"\nid = \"b\"", &["line 2", "duplicate key"]);
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    fails_with("id = \"a\"\ntarget = \"a\"", &["target and id are both `a`"]);
    fails_with("target = \"a\"\nweight = \"a\"", &["weight and target are both `a`"]);
    fails_with("id = \"\"", &["id is empty"]);
    fails_with("target = \"a\"\nexclude = [\"a\"]", &["exclude names the target"]);
    fails_with("target = \"a\"\ncategorical = [\"a\"]", &["categorical names the target"]);
    fails_with("target = \"a\"\n[encoding]\na = \"native\"", &["encoding names the target"]);
    fails_with("target = \"a\"\n[derived]\na = \"b\"", &["`a` has the name of the target column"]);
    fails_with("exclude = [\"a\"]\n[monotone]\na = 1", &["monotone names `a`", "exclude"]);
    fails_with("categorical = [\"a\"]\n[monotone]\na = 1", &["monotone names `a`", "categories have no order"]);
}

#[test]
fn validation_names_columns_of_their_own_and_settings_win() {
    let spec = Spec::parse("id = \"k\"\n[validation]\ntime = \"month\"\ngroup = \"house\"\ngap = \"30d\"", "").unwrap();
    assert_eq!(spec.validation.gap.as_ref().unwrap().to_string(), "30d");
    let group = Validation { group: Some("street".to_owned()), ..Validation::default() };
    let merged = spec.clone().with_validation(group).unwrap().validation;
    assert_eq!((merged.time.as_deref(), merged.group.as_deref()), (Some("month"), Some("street")));
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&json).unwrap(), spec);
    assert!(!serde_json::to_string(&Spec::default()).unwrap().contains("validation"));
    let bare = Spec::parse("[validation]\ntime = \"t\"\ngap = 3", "").unwrap();
    assert_eq!(bare.validation.gap.unwrap().to_string(), "3");
    fails_with("[validation]\ngap = \"30d\"", &["no effect without a time column"]);
    fails_with("[validation]\ntime = \"t\"\ngap = \"soon\"", &["validation", "is no gap"]);
    fails_with("[validation]\nmonth = \"t\"", &["month"]);
    fails_with("target = \"a\"\n[validation]\ntime = \"a\"", &["validation.time (--time) and target are both `a`"]);
    fails_with(
        "[validation]\ntime = \"a\"\ngroup = \"a\"",
        &["validation.group (--group) and validation.time (--time) are both `a`"],
    );
    fails_with("[validation]\ngroup = \"a\"\n[monotone]\na = 1", &["monotone names `a`", "validation.group"]);
}

#[test]
fn the_target_of_the_settings_is_checked_too() {
    let spec = Spec::parse("target = \"y\"\n[derived]\na = \"x / z\"", "").unwrap();
    let error = spec.clone().with_columns(Some("id"), Some("x")).unwrap_err();
    assert!(error.to_string().contains("the target `x`"), "{error}");
    assert_eq!(error.exit_code(), 2);
    let spec = spec.with_columns(Some("key"), None).unwrap();
    assert_eq!((spec.id.as_deref(), spec.target.as_deref()), (Some("key"), Some("y")));
}

#[test]
fn dates_may_be_written_as_toml_dates() {
    let days = |text: &str| Spec::parse(text, "").unwrap().as_of.unwrap().days();
    assert_eq!(days("as_of = 2026-01-31"), 20_484.0);
    assert_eq!(days("as_of = 2026-01-31T12:00:00"), 20_484.5);
    assert_eq!(days("as_of = 2026-01-31T12:00:00Z"), 20_484.5);
    assert_eq!(days("as_of = \"2026-01-31 12:00\""), 20_484.5);
}

#[test]
fn ranges_include_their_ends_and_no_missing_value() {
    let range = Range { min: Some(0.0), max: None };
    assert!(range.contains(0.0) && range.contains(f64::INFINITY));
    assert!(!range.contains(-1e-300) && !range.contains(f64::NAN));
}

#[test]
fn a_spec_knows_what_its_features_need() {
    let spec = Spec::parse("[derived]\nlate = \"HOUR(at) >= 22\"", "").unwrap();
    let types = |name: &str| (name == "at").then_some(ValueType::Date);
    assert_eq!(spec.derived[0].bind(&types), Ok(ValueType::Boolean));
}
