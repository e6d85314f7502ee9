//! Step 0: the feature spec, before a row is read.

use error::{Error, Result};
use features::spec::Spec;
use storage::Location;

use crate::settings::Settings;

/// More bytes than a feature spec has.
const MOST_BYTES: u64 = 16 << 20;

/// The feature spec, with what the settings say of id, target and validation.
///
/// # Errors
/// [`Error::Setting`] where it is none or contradicts the settings; storage errors as they are.
pub async fn read(settings: &Settings) -> Result<Spec> {
    let spec = match &settings.features {
        None => Spec::default(),
        Some(location) => {
            let bytes = read_object(location).await?;
            let text = String::from_utf8(bytes).map_err(|_| {
                Error::Setting(format!("{location} is not UTF-8 text: --features (FEATURES) must name a TOML file"))
            })?;
            Spec::parse(&text, &location.to_string())?
        }
    };
    let spec = spec.with_columns(settings.id.as_deref(), settings.target.as_deref())?;
    spec.with_validation(settings.validation())
}

async fn read_object(location: &Location) -> Result<Vec<u8>> {
    let data = storage::open_data(location).await?;
    match data.objects.as_slice() {
        [object] => Ok(data.store.get_at_most(&object.key, MOST_BYTES).await?.0.to_vec()),
        _ => Err(Error::Setting(format!("{location} is not one object: --features (FEATURES) must name a TOML file"))),
    }
}
