//! What a function works with: its settings, its event, the bucket and Athena.

use std::sync::Arc;

use storage::{Location, Store};

use crate::athena::{Athena, Clock, Queries};
use crate::event::Event;
use crate::failure::Result;
use crate::settings::Settings;

/// What stays from one event of a process to the next.
#[derive(Debug)]
pub struct Clients {
    /// The settings.
    pub settings: Settings,
    /// The bucket.
    pub bucket: Arc<dyn Store>,
    /// Athena.
    pub athena: Athena,
}

impl Clients {
    /// Reads the settings and sets the clients up.
    ///
    /// # Errors
    /// `BadSettings`.
    pub async fn connect() -> Result<Self> {
        let settings = Settings::read(|name| std::env::var(name).ok())?;
        let bucket = Location::S3 { bucket: settings.bucket.clone(), prefix: String::new() }.open().await?;
        let athena = Athena::connect(&settings).await?;
        Ok(Self { settings, bucket, athena })
    }
}

/// One invocation.
#[derive(Debug)]
pub struct Invocation<'clients> {
    /// The settings.
    pub settings: &'clients Settings,
    /// The bucket.
    pub bucket: &'clients Arc<dyn Store>,
    /// Athena, asked in the name of this run and function.
    pub queries: Queries<'clients>,
    /// What the function was called with.
    pub event: Event,
    /// Its times.
    pub clock: Clock,
}

impl<'clients> Invocation<'clients> {
    /// The invocation of a function with an event that was checked.
    #[must_use]
    pub fn new(clients: &'clients Clients, function: &'static str, event: Event, clock: Clock) -> Self {
        let run_id = event.run_id.to_string();
        let queries = Queries { athena: &clients.athena, function, run_id, clock };
        Self { settings: &clients.settings, bucket: &clients.bucket, queries, event, clock }
    }
}
