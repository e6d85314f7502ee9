//! stub until the storage branch lands
use std::sync::Arc;
use super::{ObjectMeta, Store};
use crate::Result;
/// A location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location(String);
impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
}
/// Data objects.
#[derive(Debug)]
pub struct DataObjects {
    /// store
    pub store: Arc<dyn Store>,
    /// objects
    pub objects: Vec<ObjectMeta>,
}
/// Opens.
pub async fn open_data(_location: &Location) -> Result<DataObjects> { Err(crate::Error::Defect("stub".into())) }
impl std::str::FromStr for Location { type Err = crate::Error; fn from_str(text: &str) -> Result<Self> { Ok(Self(text.to_owned())) } }
