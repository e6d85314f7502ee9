//! On a real server with signatures on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::s3::{ADMIN, AccessKey, READER, S3Server};

use super::super::{Location, Store, StoreError, contract};
use super::S3Options;
use crate::Error;

pub(crate) fn options_of(server: &S3Server, key: AccessKey) -> S3Options {
    S3Options {
        endpoint_url: Some(server.endpoint()),
        region: Some("us-east-1".to_owned()),
        access_key: Some((key.id.to_owned(), key.secret.to_owned())),
        ca_bundle: None,
    }
}

async fn open(location: &str, options: &S3Options) -> Arc<dyn Store> {
    Location::parse(location).unwrap().open_with(options).await.unwrap()
}

fn denied<T: std::fmt::Debug>(result: Result<T, StoreError>, parts: &[&str]) {
    let Err(StoreError::Denied(text)) = result else { panic!("not denied: {result:?}") };
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
    assert!(!text.contains('\n'), "more than one line: {text}");
    for key in [ADMIN, READER] {
        assert!(!text.contains(key.secret), "a credential: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let server = S3Server::shared();
    server.create_bucket("contract");
    let options = options_of(&server, ADMIN);
    contract::check(&move |name| {
        let options = options.clone();
        Box::pin(async move { open(&format!("s3://contract/suite/{name}"), &options).await })
    })
    .await;
}

#[tokio::test]
async fn pages_of_a_long_listing_are_all_read() {
    let server = S3Server::shared();
    server.create_bucket("pages");
    let store = open("s3://pages", &options_of(&server, ADMIN)).await;
    let writes = (0..1_100).map(|number| store.put_owned(format!("part-{number:05}")));
    for chunk in collect_in_chunks(writes) {
        for written in futures::future::join_all(chunk).await {
            written.unwrap();
        }
    }
    let listed = store.list("").await.unwrap();
    assert_eq!(listed.len(), 1_100);
    assert_eq!(listed.last().unwrap().key, "part-01099");
}

#[tokio::test]
async fn wrong_settings_are_denied_and_named() {
    let server = S3Server::shared();
    server.create_bucket("settings");
    let wrong_secret = options_of(&server, AccessKey { secret: "not-the-secret", ..ADMIN });
    let store = open("s3://settings/prefix", &wrong_secret).await;
    denied(store.get("key").await, &["s3://settings/prefix/key", "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"]);
    denied(store.head("key").await, &["SignatureDoesNotMatch"]);
    denied(store.list("").await, &["SignatureDoesNotMatch", "s3://settings/prefix"]);
    denied(store.put("key", "x".into()).await, &["SignatureDoesNotMatch"]);

    let unknown = options_of(&server, AccessKey { id: "AKIANOBODY", secret: "whatever" });
    let store = open("s3://settings", &unknown).await;
    denied(store.get("key").await, &["InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"]);

    let store = open("s3://settings", &options_of(&server, READER)).await;
    denied(store.put("key", "x".into()).await, &["AccessDenied", "s3:PutObject"]);
    assert_eq!(store.list("").await.unwrap(), []);
}

#[tokio::test]
async fn a_missing_bucket_is_named_by_every_request() {
    let server = S3Server::shared();
    let store = open("s3://no-such-bucket/prefix", &options_of(&server, ADMIN)).await;
    denied(store.get("key").await, &["NoSuchBucket", "s3://no-such-bucket/prefix/key"]);
    denied(store.head("key").await, &["NoSuchBucket"]);
    denied(store.list("").await, &["NoSuchBucket"]);
    denied(store.put("key", "x".into()).await, &["NoSuchBucket"]);
    let absent = super::Condition::Absent;
    denied(store.put_if("key", "x".into(), &absent).await, &["NoSuchBucket"]);
    let unchanged = super::Condition::Unchanged(super::Version("0".to_owned()));
    denied(store.put_if("key", "x".into(), &unchanged).await, &["NoSuchBucket"]);
}

#[tokio::test]
async fn without_a_server_it_ends_in_seconds() {
    let free_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = S3Options {
        endpoint_url: Some(format!("http://127.0.0.1:{free_port}")),
        access_key: Some(("id".to_owned(), "secret".to_owned())),
        ..S3Options::default()
    };
    let started = Instant::now();
    let store = open("s3://bucket", &options).await;
    let read = store.get("key").await;
    let Err(StoreError::Unavailable(text)) = read else { panic!("{read:?}") };
    assert!(text.contains("s3://bucket/key") && text.contains("refused"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_bundle_of_certificates_that_is_none_is_a_setting() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.pem").display().to_string();
    let empty = folder.path().join("empty.pem").display().to_string();
    std::fs::write(&empty, "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n").unwrap();
    for path in [missing, empty] {
        let options = S3Options { ca_bundle: Some(path.clone()), ..S3Options::default() };
        let opened = Location::parse("s3://bucket").unwrap().open_with(&options).await;
        let Err(Error::Setting(text)) = opened else { panic!("{opened:?}") };
        assert!(text.contains("AWS_CA_BUNDLE") && text.contains(&path), "{text}");
    }
}
