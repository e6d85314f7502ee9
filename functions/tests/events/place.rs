//! A bucket of its own for each test, with Athena over it and the functions to call.

use std::sync::Arc;
use std::time::Duration;

use polars::prelude::DataFrame;
use serde_json::{Value, json};
use testkit::s3::S3Server;
use testkit::tables::{customers, parquet_bytes, without};

use super::athena::Athena;
use super::bucket::Bucket;
use super::lambda::{Answer, Function};

/// Rows of the tables in the lake.
pub(crate) const TRAINING_ROWS: usize = 3_000;
pub(crate) const CUSTOMERS: usize = 1_000;
/// Id of the first customer: no count is near it.
pub(crate) const FIRST_CUSTOMER: usize = 5_000_001;
/// The bucket.
const BUCKET: &str = "lake";

/// What a test works with.
pub(crate) struct Place {
    pub(crate) s3: Arc<S3Server>,
    pub(crate) bucket: Bucket,
    pub(crate) athena: Athena,
    /// What the functions are told of S3, unless a test puts something in between.
    pub(crate) s3_endpoint: String,
    settings: Vec<(String, String)>,
}

impl Place {
    /// A server of its own, since the bucket has one name; the tables `engagement.training` and `engagement.customers` and SELECTs of them.
    pub(crate) fn new() -> Self {
        let s3 = Arc::new(S3Server::start());
        s3.create_bucket(BUCKET);
        let bucket = Bucket::open(&s3.endpoint(), BUCKET);
        let athena = Athena::start(&s3.endpoint());
        let s3_endpoint = s3.endpoint();
        let settings = [("ID_COLUMN", "customer_id"), ("TARGET_COLUMN", "score")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let place = Self { s3, bucket, athena, s3_endpoint, settings };
        let training = customers(TRAINING_ROWS, 1, 7);
        place.lay("training", &training);
        place.lay("customers", &without(&customers(CUSTOMERS, FIRST_CUSTOMER as i64, 8), "score"));
        place.bucket.put("config/training.sql", "SELECT * FROM engagement.training");
        place.bucket.put("config/customers.sql", "SELECT * FROM engagement.customers -- all of them\n;");
        place
    }

    /// A setting of the functions.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// A table of the lake.
    pub(crate) fn lay(&self, name: &str, table: &DataFrame) {
        self.bucket.put(&format!("lake/{name}/part-0.parquet"), parquet_bytes(table));
        let kind = |kind: &polars::prelude::DataType| functions::tables::hive_type("", kind).unwrap();
        let columns: Vec<String> =
            table.columns().iter().map(|column| format!("`{}` {}", column.name(), kind(column.dtype()))).collect();
        self.athena.rows(&format!("DROP TABLE IF EXISTS engagement.{name}"));
        self.athena.rows(&format!(
            "CREATE EXTERNAL TABLE engagement.{name} ({}) STORED AS PARQUET LOCATION 's3://{BUCKET}/lake/{name}/'",
            columns.join(", ")
        ));
    }

    /// The environment of a function.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let mut variables = self.s3.env();
        variables.retain(|(name, _)| name != "AWS_ENDPOINT_URL_S3");
        let own = [
            ("AWS_ENDPOINT_URL_S3", self.s3_endpoint.as_str()),
            ("AWS_ENDPOINT_URL_ATHENA", &self.athena.endpoint),
            ("BUCKET", BUCKET),
            ("LOG_FORMAT", "json"),
        ];
        variables.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        variables.extend(self.settings.clone());
        variables
    }

    /// Starts a function.
    pub(crate) fn start(&self, command: &str) -> Function {
        Function::start(command, &self.variables())
    }

    /// Calls a function in a process of its own.
    pub(crate) fn call(&self, command: &str, event: &Value) -> Answer {
        self.start(command).call(event, Duration::from_secs(175))
    }
}

/// The event that every function is given.
pub(crate) fn event(run_id: &str) -> Value {
    json!({"run_id": run_id, "model_version": "v1", "environment": "test", "trigger": "manual"})
}

/// An event with more in it.
pub(crate) fn event_with(run_id: &str, more: &Value) -> Value {
    let mut event = event(run_id);
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}
