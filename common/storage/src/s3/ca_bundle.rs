//! `AWS_CA_BUNDLE`: the certificates that are trusted instead of the system's.

use std::fs;

use aws_smithy_http_client::tls::TrustStore;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{S3Options, set_variable};
use error::{Error, Result};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The bundle's certificates, or `None` for the system's.
///
/// # Errors
/// [`Error::Setting`] where the file cannot be read or holds no certificate.
pub(super) fn store(options: &S3Options) -> Result<Option<TrustStore>> {
    let Some(path) = options.ca_bundle.clone().or_else(|| set_variable("AWS_CA_BUNDLE")) else {
        return Ok(None);
    };
    let text = fs::read(&path).map_err(|error| {
        Error::Setting(format!("AWS_CA_BUNDLE: cannot read {path}: {error}; it has to be a PEM file of certificates"))
    })?;
    let text = String::from_utf8_lossy(&text);
    let mut usable = certificates(&text).filter(|pem| is_usable(pem)).peekable();
    if usable.peek().is_none() {
        return Err(Error::Setting(format!("AWS_CA_BUNDLE: {path} holds no certificate in PEM form")));
    }
    let trusted = usable.fold(TrustStore::empty(), TrustStore::with_pem_certificate);
    Ok(Some(trusted))
}

/// Each certificate of a PEM file, without what stands between them.
fn certificates(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(BEGIN).filter_map(|(start, _)| {
        let rest = &text[start..];
        rest.find(END).map(|end| &rest[..end + END.len()])
    })
}

/// The HTTP client panics on a certificate that it cannot use, and real bundles hold some.
fn is_usable(pem: &str) -> bool {
    let parsed = CertificateDer::from_pem_slice(pem.as_bytes());
    parsed.is_ok_and(|certificate| RootCertStore::empty().add(certificate).is_ok())
}
