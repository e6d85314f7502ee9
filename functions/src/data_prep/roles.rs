//! What columns are for, by the settings and the feature spec.

use features::spec::{Spec, Validation};
use storage::{Location, StoreError};

use crate::failure::{Failure, Result};
use crate::objects::MOST_BYTES;
use crate::settings::Settings;

/// What columns are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Roles {
    /// Identifies a customer.
    pub(super) id: String,
    /// Is predicted.
    pub(super) target: String,
    /// Columns of the training rows that customers need not have: the weight, the group and what is excluded, unless an expression reads it.
    pub(super) only_in_training: Vec<String>,
    /// Columns that may hold anything, since no feature is made of them.
    pub(super) excluded: Vec<String>,
    /// The column of times and the column of groups that rows are validated by, with the settings that name them.
    pub(super) of_validation: Vec<(&'static str, String)>,
}

impl Roles {
    /// Reads the spec, where there is one; the settings' columns win over its.
    pub(super) async fn read(settings: &Settings) -> Result<Self> {
        let spec = match &settings.features {
            Some(location) => read_spec(location).await?,
            None => Spec::default(),
        };
        let spec = spec.with_columns(settings.id_column.as_deref(), settings.target_column.as_deref())?;
        let spec = spec.with_validation(settings.validation.clone())?;
        let needed = |column: Option<&String>, variable: &str| {
            let missing =
                || Failure::settings(format!("{variable} is not set, and the feature spec (FEATURES) has none"));
            column.cloned().ok_or_else(missing)
        };
        let id = needed(spec.id.as_ref(), "ID_COLUMN")?;
        let target = needed(spec.target.as_ref(), "TARGET_COLUMN")?;
        let read = |column: &String| spec.derived.iter().any(|expression| expression.columns().contains(column));
        let Validation { time, group, .. } = &spec.validation;
        let no_features = spec.exclude.iter().chain(group);
        let mut only_in_training: Vec<String> = no_features.filter(|column| !read(column)).cloned().collect();
        only_in_training.extend(spec.weight.clone());
        only_in_training.push(target.clone());
        let of_validation = [("TIME_COLUMN", time), ("GROUP_COLUMN", group)];
        let of_validation = of_validation.into_iter().filter_map(|(setting, name)| Some((setting, name.clone()?)));
        let of_validation = of_validation.collect();
        Ok(Self { id, target, only_in_training, excluded: spec.exclude.clone(), of_validation })
    }
}

async fn read_spec(location: &Location) -> Result<Spec> {
    let text = location.to_string();
    let wrong = |problem: &str| Failure::settings(format!("FEATURES: {text} {problem}"));
    let (parent, name) = match location {
        Location::S3 { bucket, prefix } => {
            let (parent, name) = prefix.rsplit_once('/').unwrap_or(("", prefix));
            (Location::S3 { bucket: bucket.clone(), prefix: parent.to_owned() }, name.to_owned())
        }
        Location::Local(path) => {
            let parts = path.parent().zip(path.file_name().and_then(|name| name.to_str()));
            let (parent, name) = parts.ok_or_else(|| wrong("is no file"))?;
            (Location::Local(parent.to_owned()), name.to_owned())
        }
    };
    let (bytes, _) = match parent.open().await?.get_at_most(&name, MOST_BYTES).await {
        Err(StoreError::NotFound(_)) => return Err(wrong("does not exist")),
        other => other?,
    };
    let spec = std::str::from_utf8(&bytes).map_err(|_| wrong("is no UTF-8 text"))?;
    Ok(Spec::parse(spec, &text)?)
}
