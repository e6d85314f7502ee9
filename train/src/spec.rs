//! Step 0: the feature spec, before a row is read.

use error::{Error, Result};
use features::spec::Spec;
use machine::memory::pool;
use storage::Location;

use crate::settings::Settings;

/// More bytes than a feature spec has.
const MOST_BYTES: u64 = 16 << 20;
/// What an entry takes while it is parsed.
const ENTRY_BYTES: u64 = 256;

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
        [object] => {
            let bytes = data.store.get_at_most(&object.key, MOST_BYTES).await?.0;
            let entries = bytes.iter().filter(|byte| matches!(byte, b',' | b'=' | b'\n' | b'[' | b'{')).count() as u64;
            let (needed, limit) = (entries * ENTRY_BYTES, pool().limit());
            if needed > limit / 2 {
                return Err(Error::Resources(format!(
                    "{location} takes at least {} MiB of memory with its {entries} entries, but of {} MiB it may take half: give the task \
                     more memory, or write a shorter one",
                    needed.div_ceil(1 << 20),
                    limit >> 20
                )));
            }
            Ok(bytes.to_vec())
        }
        _ => Err(Error::Setting(format!("{location} is not one object: --features (FEATURES) must name a TOML file"))),
    }
}
