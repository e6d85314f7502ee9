//! Metrics as CloudWatch Embedded Metric Format: a JSON line that the log driver's log group turns into metrics.
//!
//! Source: Amazon CloudWatch User Guide, "Specification: Embedded metric format".

use serde_json::{Map, Value, json};

use super::Config;

const NAMESPACE: &str = "EngagementML";

/// CloudWatch drops a metric with a longer dimension value.
const MAX_DIMENSION_LENGTH: usize = 1024;

/// The metrics of the namespace `EngagementML`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Seconds of a training.
    ModelTrainingTime,
    /// R² on the held-out rows.
    ModelAccuracy,
    /// Rows read.
    RecordsProcessed,
    /// Rows scored.
    PredictionCount,
    /// Share of good rows and cells, 0 to 1.
    DataQualityScore,
    /// Bytes of memory, at most at once.
    PeakMemory,
    /// The peak as a percentage of the limit.
    MemoryUtilization,
    /// The drift of the feature that drifted most (population stability index).
    MaxDrift,
    /// R² of predictions against what came true.
    RealizedAccuracy,
    /// The mean absolute error that a model expects of its predictions.
    ExpectedError,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 10] = [
        Self::ModelTrainingTime,
        Self::ModelAccuracy,
        Self::RecordsProcessed,
        Self::PredictionCount,
        Self::DataQualityScore,
        Self::PeakMemory,
        Self::MemoryUtilization,
        Self::MaxDrift,
        Self::RealizedAccuracy,
        Self::ExpectedError,
    ];

    /// The metric's name in CloudWatch.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ModelTrainingTime => "ModelTrainingTime",
            Self::ModelAccuracy => "ModelAccuracy",
            Self::RecordsProcessed => "RecordsProcessed",
            Self::PredictionCount => "PredictionCount",
            Self::DataQualityScore => "DataQualityScore",
            Self::PeakMemory => "PeakMemory",
            Self::MemoryUtilization => "MemoryUtilization",
            Self::MaxDrift => "MaxDrift",
            Self::RealizedAccuracy => "RealizedAccuracy",
            Self::ExpectedError => "ExpectedError",
        }
    }

    /// The metric's unit in CloudWatch.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::ModelTrainingTime => "Seconds",
            Self::RecordsProcessed | Self::PredictionCount => "Count",
            Self::PeakMemory => "Bytes",
            Self::MemoryUtilization => "Percent",
            Self::ModelAccuracy
            | Self::DataQualityScore
            | Self::MaxDrift
            | Self::RealizedAccuracy
            | Self::ExpectedError => "None",
        }
    }
}

/// One line without its end, `None` when no value is finite. `timestamp` in milliseconds since 1970-01-01 UTC.
pub(super) fn line(config: &Config, metrics: &[(Metric, f64)], timestamp: i64) -> Option<String> {
    let finite: Vec<_> = metrics.iter().filter(|(_, value)| value.is_finite()).collect();
    if finite.is_empty() {
        return None;
    }
    let definitions: Vec<Value> =
        finite.iter().map(|(metric, _)| json!({"Name": metric.name(), "Unit": metric.unit()})).collect();
    let mut line = Map::new();
    let mut set = |key: &str, value: Value| line.insert(key.to_owned(), value);
    set("_aws", header(&definitions, timestamp));
    set("Environment", dimension(&config.environment));
    set("ModelName", dimension(&config.model_name));
    set("Program", dimension(config.program.name()));
    set("run_id", config.run_id.as_str().into());
    for (metric, value) in finite {
        set(metric.name(), number(*value));
    }
    Some(Value::Object(line).to_string())
}

fn header(definitions: &[Value], timestamp: i64) -> Value {
    json!({
        "Timestamp": timestamp,
        "CloudWatchMetrics": [{
            "Namespace": NAMESPACE,
            "Dimensions": [["Environment", "ModelName", "Program"]],
            "Metrics": definitions,
        }],
    })
}

/// A dimension that CloudWatch accepts: ASCII without control characters, not empty, not starting with a colon.
fn dimension(text: &str) -> Value {
    let allowed = |character: char| {
        if matches!(character, ' '..='~') { character } else { '_' }
    };
    let value: String = text.trim().chars().take(MAX_DIMENSION_LENGTH).map(allowed).collect();
    match value.strip_prefix(':') {
        Some(rest) => format!("_{rest}").into(),
        None if value.is_empty() => "_".into(),
        None => value.into(),
    }
}

/// Counts are written as people write them, without a fraction.
fn number(value: f64) -> Value {
    const EXACT: f64 = (1u64 << 53) as f64;
    if value.fract() == 0.0 && value.abs() < EXACT { (value as i64).into() } else { value.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Program;

    fn config() -> Config {
        Config {
            program: Program::Train,
            environment: "prod".to_owned(),
            model_name: "engagement".to_owned(),
            run_id: "run-7".parse().unwrap(),
            log_format: None,
        }
    }

    #[test]
    fn a_line_is_as_the_specification_says() {
        let metrics = [(Metric::ModelTrainingTime, 12.5), (Metric::ModelAccuracy, 0.875), (Metric::PeakMemory, 3e9)];
        assert_eq!(
            line(&config(), &metrics, 1_795_456_215_123).unwrap(),
            concat!(
                r#"{"_aws":{"Timestamp":1795456215123,"CloudWatchMetrics":[{"Namespace":"EngagementML","#,
                r#""Dimensions":[["Environment","ModelName","Program"]],"Metrics":["#,
                r#"{"Name":"ModelTrainingTime","Unit":"Seconds"},{"Name":"ModelAccuracy","Unit":"None"},"#,
                r#"{"Name":"PeakMemory","Unit":"Bytes"}]}]},"#,
                r#""Environment":"prod","ModelName":"engagement","Program":"train","run_id":"run-7","#,
                r#""ModelTrainingTime":12.5,"ModelAccuracy":0.875,"PeakMemory":3000000000}"#,
            )
        );
    }

    #[test]
    fn every_metric_has_the_unit_of_the_contract() {
        let units: Vec<String> =
            Metric::ALL.iter().map(|metric| format!("{}:{}", metric.name(), metric.unit())).collect();
        let expected = "ModelTrainingTime:Seconds ModelAccuracy:None RecordsProcessed:Count PredictionCount:Count \
                        DataQualityScore:None PeakMemory:Bytes MemoryUtilization:Percent MaxDrift:None \
                         RealizedAccuracy:None ExpectedError:None";
        assert_eq!(units.join(" "), expected);
    }

    #[test]
    fn every_metric_named_is_a_number_of_the_same_line() {
        let metrics = Metric::ALL.map(|metric| (metric, 1.25));
        let line: Value = serde_json::from_str(&line(&config(), &metrics, 0).unwrap()).unwrap();
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        for metric in directive["Metrics"].as_array().unwrap() {
            assert_eq!(line[metric["Name"].as_str().unwrap()], 1.25);
        }
        for dimension in directive["Dimensions"][0].as_array().unwrap() {
            assert!(line[dimension.as_str().unwrap()].is_string());
        }
    }

    #[test]
    fn values_that_are_not_finite_are_left_out() {
        let metrics = [(Metric::ModelAccuracy, f64::NAN), (Metric::RecordsProcessed, 3.0)];
        let line = line(&config(), &metrics, 0).unwrap();
        assert!(!line.contains("ModelAccuracy"), "{line}");
        assert!(line.contains(r#""RecordsProcessed":3}"#), "{line}");
    }

    #[test]
    fn without_a_finite_value_there_is_no_line() {
        assert_eq!(line(&config(), &[(Metric::ModelAccuracy, f64::INFINITY)], 0), None);
        assert_eq!(line(&config(), &[], 0), None);
    }

    #[test]
    fn dimensions_are_what_cloudwatch_accepts() {
        assert_eq!(dimension("prod-eu 1"), "prod-eu 1");
        assert_eq!(dimension("größe\n"), "gr__e");
        assert_eq!(dimension(":x"), "_x");
        assert_eq!(dimension("  "), "_");
        assert_eq!(dimension(&"x".repeat(2000)).as_str().unwrap().len(), 1024);
    }
}
