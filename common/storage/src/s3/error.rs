//! The only place where an error of the SDK becomes one of the store: kind, the service's code and message, and what to do.
//!
//! A text never holds a credential: of the service's answer only code and message are taken, of a failed connection only
//! the causes.

use std::error::Error;
use std::fmt::Debug;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::super::StoreError;

/// What the service answered, as far as the store has to tell answers apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// Without the location, which the caller knows.
    pub(super) text: String,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No such object.
    NotFound,
    /// 416: the object is shorter than the range.
    BeyondEnd,
    /// 412.
    ConditionFailed,
    /// 409: another write of the same key is under way; the same request may succeed next.
    InProgress,
    /// The service got other bytes than were sent; the same request may succeed next.
    Corrupted,
    /// No such multipart upload: it was completed or aborted.
    NoUpload,
    /// A setting is wrong.
    Denied,
    /// A quota or the disk of the server.
    Full,
    /// Not reached, or kept failing.
    Unavailable,
}

impl Failure {
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if let Some(failure) = of_credentials(error) {
            return failure;
        }
        match error {
            SdkError::ServiceError(answer) => {
                of_answer(answer.err().code(), answer.err().message(), answer.raw().status().as_u16())
            }
            SdkError::ConstructionFailure(_) => Self::new(Kind::Denied, causes(error)),
            SdkError::ResponseError(answer) => {
                let status = answer.raw().status().as_u16();
                Self::new(Kind::Unavailable, format!("unreadable answer (HTTP {status}): {}", causes(error)))
            }
            _ => match limit(error) {
                Some(limit) => Self::new(Kind::Full, format!("{}; {limit}", causes(error))),
                None => of_connection(&causes(error)),
            },
        }
    }

    fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// The store's error; `what` was tried at `location`.
    pub(super) fn at(self, what: &str, location: &str) -> StoreError {
        let text = format!("{what} {location}: {}", self.text);
        match self.kind {
            Kind::NotFound | Kind::BeyondEnd => StoreError::NotFound(text),
            Kind::ConditionFailed => StoreError::Conflict(text),
            Kind::Denied => StoreError::Denied(text),
            Kind::Full => StoreError::Full(text),
            Kind::InProgress | Kind::Corrupted | Kind::NoUpload | Kind::Unavailable => StoreError::Unavailable(text),
        }
    }
}

fn of_answer(code: Option<&str>, message: Option<&str>, status: u16) -> Failure {
    let kind = kind_of(code.unwrap_or_default(), status);
    let mut text = match code {
        Some(code) => format!("{code} (HTTP {status})"),
        None => format!("HTTP {status}"),
    };
    if let Some(message) = message.filter(|message| !message.is_empty()) {
        text = format!("{text}: {}", one_line(message));
    }
    if let Some(remedy) = remedy(code.unwrap_or_default(), status) {
        text = format!("{}; {remedy}", text.trim_end_matches('.'));
    }
    Failure::new(kind, text)
}

fn kind_of(code: &str, status: u16) -> Kind {
    match (code, status) {
        ("NoSuchBucket", _) => Kind::Denied,
        ("NoSuchUpload", _) => Kind::NoUpload,
        ("NoSuchKey" | "NotFound" | "NoSuchVersion", _) => Kind::NotFound,
        ("BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" | "IncompleteBody", _) => {
            Kind::Corrupted
        }
        ("QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" | "XMinioStorageFull", _) | (_, 507) => Kind::Full,
        ("SlowDown" | "RequestTimeout" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded", _) => {
            Kind::Unavailable
        }
        ("AccessDenied" | "AllAccessDisabled", _) => Kind::Denied,
        // An answer that begins well and says in its body that it failed after all, as the completion of an upload may.
        (_, 200..300) => Kind::Unavailable,
        (_, 404) => Kind::NotFound,
        (_, 409) => Kind::InProgress,
        (_, 412) => Kind::ConditionFailed,
        (_, 416) => Kind::BeyondEnd,
        (_, 408 | 429 | 500..) => Kind::Unavailable,
        _ => Kind::Denied,
    }
}

fn remedy(code: &str, status: u16) -> Option<&'static str> {
    Some(match (code, status) {
        ("NoSuchBucket", _) => "create the bucket or correct its name",
        ("InvalidAccessKeyId", _) => "the access key is not known there: check AWS_ACCESS_KEY_ID or the profile",
        ("SignatureDoesNotMatch", _) => "check AWS_SECRET_ACCESS_KEY, and that no proxy changes the requests",
        ("ExpiredToken" | "TokenRefreshRequired" | "InvalidToken", _) => "the session is over: get new credentials",
        ("RequestTimeTooSkewed", _) => "set this machine's clock",
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
        | (_, 301 | 307) => "the bucket is in another region: set AWS_REGION to it",
        ("InvalidObjectState", _) => "the object is archived: restore it first",
        ("AccessDenied" | "AllAccessDisabled", _) | (_, 401 | 403) => {
            "allow s3:ListBucket on the bucket and s3:GetObject, s3:PutObject and s3:DeleteObject on its objects, and the use of its KMS key"
        }
        _ => return None,
    })
}

/// The limit of this host that an error is about.
fn limit(error: &(dyn Error + 'static)) -> Option<String> {
    chain(error).find_map(|cause| machine::files::limit_behind(cause.downcast_ref::<std::io::Error>()?))
}

fn of_connection(causes: &str) -> Failure {
    if causes.contains("invalid peer certificate") {
        return Failure::new(
            Kind::Denied,
            format!("{causes}; set AWS_CA_BUNDLE to the certificate that signed the server's"),
        );
    }
    Failure::new(Kind::Unavailable, causes)
}

fn of_credentials(error: &(dyn Error + 'static)) -> Option<Failure> {
    let error = chain(error).find_map(|cause| cause.downcast_ref::<CredentialsError>())?;
    let text = causes(error);
    Some(match error {
        CredentialsError::CredentialsNotLoaded(_) => Failure::new(
            Kind::Denied,
            format!(
                "no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a task role ({text})"
            ),
        ),
        CredentialsError::InvalidConfiguration(_) => {
            Failure::new(Kind::Denied, format!("credentials are set up wrongly: {text}"))
        }
        _ => Failure::new(Kind::Unavailable, format!("credentials could not be fetched: {text}")),
    })
}

fn chain<'error>(error: &'error (dyn Error + 'static)) -> impl Iterator<Item = &'error (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error and what caused it, each said once, in one line.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in chain(error) {
        let text = one_line(&cause.to_string());
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_what_they_call_for() {
        for (code, status, kind) in [
            ("AccessDenied", 403, Kind::Denied),
            ("InvalidAccessKeyId", 403, Kind::Denied),
            ("SignatureDoesNotMatch", 403, Kind::Denied),
            ("ExpiredToken", 400, Kind::Denied),
            ("PermanentRedirect", 301, Kind::Denied),
            ("AuthorizationHeaderMalformed", 400, Kind::Denied),
            ("NoSuchBucket", 404, Kind::Denied),
            ("NoSuchKey", 404, Kind::NotFound),
            ("", 404, Kind::NotFound),
            ("InvalidRange", 416, Kind::BeyondEnd),
            ("PreconditionFailed", 412, Kind::ConditionFailed),
            ("ConditionalRequestConflict", 409, Kind::InProgress),
            ("OperationAborted", 409, Kind::InProgress),
            ("BadDigest", 400, Kind::Corrupted),
            ("NoSuchUpload", 404, Kind::NoUpload),
            ("SlowDown", 503, Kind::Unavailable),
            ("RequestTimeout", 400, Kind::Unavailable),
            ("InternalError", 500, Kind::Unavailable),
            ("InternalError", 200, Kind::Unavailable),
            ("", 200, Kind::Unavailable),
            ("AccessDenied", 200, Kind::Denied),
            ("", 429, Kind::Unavailable),
            ("XMinioStorageFull", 507, Kind::Full),
        ] {
            assert_eq!(kind_of(code, status), kind, "{code} {status}");
        }
    }

    #[test]
    fn a_text_is_one_line_with_code_message_location_and_remedy() {
        let failure = of_answer(Some("NoSuchBucket"), Some("The specified bucket\n does not exist."), 404);
        let StoreError::Denied(text) = failure.at("cannot list", "s3://nowhere/x") else { panic!("not denied") };
        assert_eq!(
            text,
            "cannot list s3://nowhere/x: NoSuchBucket (HTTP 404): The specified bucket does not exist; create the bucket or correct its name"
        );
    }
}
