//! Tables of one run over what it read and wrote, with the columns of the footers. They go when the results are written.

use chrono::{DateTime, Utc};

use super::run_all;
use super::schema::Schema;
use crate::athena::text::sha256;
use crate::context::Invocation;
use crate::failure::Result;
use crate::pre_cleanup::{TABLE_PREFIX, TABLE_TIME};
use crate::tables::{create, full_name};

/// The names of a run's tables.
#[derive(Debug)]
pub(super) struct RunTables {
    pub(super) customers: String,
    pub(super) predictions: String,
    pub(super) rejected: String,
}

impl RunTables {
    /// The names tell when the run began, so that pre-cleanup leaves those of today alone.
    pub(super) fn of(invocation: &Invocation<'_>, started_at: &str) -> Self {
        let time = DateTime::parse_from_rfc3339(started_at).map(|time| time.with_timezone(&Utc)).unwrap_or_default();
        let time = time.format(TABLE_TIME).to_string();
        let hash = sha256(invocation.event.run_id.as_str());
        let name = |what: &str| full_name(invocation, &format!("{TABLE_PREFIX}{time}_{}_{what}", &hash[..16]));
        Self { customers: name("customers"), predictions: name("predictions"), rejected: name("rejected") }
    }

    /// Makes them where there are none.
    pub(super) async fn make(&self, invocation: &Invocation<'_>, schema: &Schema) -> Result<()> {
        let settings = invocation.settings;
        let input = invocation.event.folder("locations.input_data", settings)?.location;
        let output = invocation.event.folder("predictions", settings)?.location;
        let rejected = format!(
            "{}/rejected/run_id={}/",
            settings.output.to_string().trim_end_matches('/'),
            invocation.event.run_id
        );
        let customers: Vec<_> = schema.customers.iter().map(|(name, kind, _)| (name.clone(), kind.clone())).collect();
        let of_rejected = [("id", "string"), ("reason", "string"), ("source", "string"), ("row", "bigint")];
        let of_rejected = of_rejected.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
        let statements = vec![
            ("making a table of the customers".to_owned(), create(&self.customers, &customers, false, &input)),
            (
                "making a table of the predictions".to_owned(),
                create(&self.predictions, &schema.predictions, false, &output),
            ),
            ("making a table of the rejected rows".to_owned(), create(&self.rejected, &of_rejected, false, &rejected)),
        ];
        run_all(invocation, statements).await
    }

    /// Drops them. One that stays is dropped by pre-cleanup, so that is no failure.
    pub(super) async fn drop(&self, invocation: &Invocation<'_>) {
        let drop = |table: &String| (format!("dropping {table}"), format!("DROP TABLE IF EXISTS {table}"));
        let dropped = run_all(invocation, [&self.customers, &self.predictions, &self.rejected].map(drop).into()).await;
        if let Err(failure) = dropped {
            tracing::warn!("a table of this run stays until pre-cleanup drops it: {}", failure.message);
        }
    }
}
