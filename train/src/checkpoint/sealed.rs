//! What a checkpoint's objects look like: content, a hash that tells damage, and what they belong to.
//!
//! Of JSON the content stands inside the object; of anything else it follows the line that describes it.

use error::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::sha256_hex;

/// Layout of these objects.
const FORMAT_VERSION: u32 = 1;

/// Why an object of a checkpoint is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not what was written.
    #[error("it is damaged ({0})")]
    Damaged(String),
    /// It was written by another program, for other rows or for another choice.
    #[error("it belongs to other rows, settings or another version of the program")]
    Foreign,
}

#[derive(Debug, Serialize, Deserialize)]
struct Seal {
    format_version: u32,
    /// What the content belongs to.
    belongs_to: String,
    /// SHA-256 of the content.
    sha256: String,
    /// The content, if it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Value>,
}

impl Seal {
    fn of(belongs_to: &str, content: &[u8]) -> Self {
        let (belongs_to, sha256) = (belongs_to.to_owned(), sha256_hex(content));
        Self { format_version: FORMAT_VERSION, belongs_to, sha256, content: None }
    }

    fn read(json: &[u8]) -> Result<Self, Unusable> {
        serde_json::from_slice(json).map_err(|error| Unusable::Damaged(error.to_string()))
    }

    fn check(&self, belongs_to: &str, content: &[u8]) -> Result<(), Unusable> {
        if self.format_version != FORMAT_VERSION || self.belongs_to != belongs_to {
            return Err(Unusable::Foreign);
        }
        if self.sha256 != sha256_hex(content) {
            return Err(Unusable::Damaged("its SHA-256 differs".to_owned()));
        }
        Ok(())
    }
}

/// The object for some JSON.
///
/// # Errors
/// [`Error::Defect`] for what cannot be JSON.
pub fn seal_json(belongs_to: &str, content: &impl Serialize) -> Result<Vec<u8>> {
    let defect = |error: serde_json::Error| Error::Defect(format!("a checkpoint cannot be JSON: {error}"));
    let content = serde_json::to_value(content).map_err(defect)?;
    let seal = Seal::of(belongs_to, content.to_string().as_bytes());
    serde_json::to_vec(&Seal { content: Some(content), ..seal }).map_err(defect)
}

/// The JSON of an object, if it is what [`seal_json`] made for the same `belongs_to`.
///
/// # Errors
/// [`Unusable`].
pub fn unseal_json<Content: DeserializeOwned>(belongs_to: &str, object: &[u8]) -> Result<Content, Unusable> {
    let mut seal = Seal::read(object)?;
    let content = seal.content.take().ok_or_else(|| Unusable::Damaged("it has no content".to_owned()))?;
    seal.check(belongs_to, content.to_string().as_bytes())?;
    serde_json::from_value(content).map_err(|error| Unusable::Damaged(error.to_string()))
}

/// The object for some bytes.
///
/// # Errors
/// [`Error::Defect`] for a description that cannot be JSON.
pub fn seal_bytes(belongs_to: &str, content: &[u8]) -> Result<Vec<u8>> {
    let seal = serde_json::to_vec(&Seal::of(belongs_to, content));
    let mut object = seal.map_err(|error| Error::Defect(format!("a checkpoint cannot be described: {error}")))?;
    object.push(b'\n');
    object.extend_from_slice(content);
    Ok(object)
}

/// The bytes of an object, if it is what [`seal_bytes`] made for the same `belongs_to`.
///
/// # Errors
/// [`Unusable`].
pub fn unseal_bytes<'object>(belongs_to: &str, object: &'object [u8]) -> Result<&'object [u8], Unusable> {
    let mut parts = object.splitn(2, |byte| *byte == b'\n');
    let (Some(seal), Some(content)) = (parts.next(), parts.next()) else {
        return Err(Unusable::Damaged("it is cut off".to_owned()));
    };
    Seal::read(seal)?.check(belongs_to, content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_as_it_was_written() {
        let content = vec![Some(0.1 + 0.2), None, Some(1e-300)];
        let object = seal_json("run", &content).unwrap();
        assert_eq!(unseal_json::<Vec<Option<f64>>>("run", &object), Ok(content));
        assert_eq!(unseal_json::<Vec<Option<f64>>>("another", &object), Err(Unusable::Foreign));
        assert!(matches!(unseal_json::<Vec<bool>>("run", &object), Err(Unusable::Damaged(_))));
    }

    #[test]
    fn bytes_are_read_as_they_were_written() {
        let content = b"\0\n\n{\xff".to_vec();
        let object = seal_bytes("run", &content).unwrap();
        assert_eq!(unseal_bytes("run", &object), Ok(content.as_slice()));
        assert_eq!(unseal_bytes("another", &object), Err(Unusable::Foreign));
    }

    #[test]
    fn every_damage_is_found() {
        let json = seal_json("run", &vec![1.5, 2.5]).unwrap();
        let bytes = seal_bytes("run", b"content").unwrap();
        for (object, is_json) in [(json, true), (bytes, false)] {
            let is_usable = |object: &[u8]| {
                if is_json {
                    unseal_json::<Vec<f64>>("run", object).is_ok()
                } else {
                    unseal_bytes("run", object).is_ok()
                }
            };
            assert!(is_usable(&object));
            for length in 0..object.len() {
                assert!(!is_usable(&object[..length]), "cut off after {length} bytes");
            }
            for place in 0..object.len() {
                let mut damaged = object.clone();
                damaged[place] ^= 1;
                assert!(!is_usable(&damaged), "byte {place} of {}", String::from_utf8_lossy(&object));
            }
        }
    }
}
