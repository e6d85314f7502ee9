//! On a real server with signatures on.

mod faults;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::s3::{ADMIN, AccessKey, READER, S3Server};

use super::super::{Location, ObjectMeta, Store, StoreError, Version, contract};
use super::S3Options;
use error::Error;

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

fn object(key: &str, size: u64, version: Version) -> ObjectMeta {
    ObjectMeta { key: key.to_owned(), size, version }
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
    for hundred in 0..11 {
        let writes = (0..100).map(|number| {
            let (store, key) = (Arc::clone(&store), format!("part-{:05}", hundred * 100 + number));
            async move { store.put(&key, "x".into()).await }
        });
        futures::future::try_join_all(writes).await.unwrap();
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
    std::fs::write(&empty, "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n")
        .unwrap();
    for path in [missing, empty] {
        let options = S3Options { ca_bundle: Some(path.clone()), ..S3Options::default() };
        let opened = Location::parse("s3://bucket").unwrap().open_with(&options).await;
        let Err(Error::Setting(text)) = opened else { panic!("{opened:?}") };
        assert!(text.contains("AWS_CA_BUNDLE") && text.contains(&path), "{text}");
    }
}

#[tokio::test]
async fn data_is_one_object_or_all_below_a_prefix_that_nothing_hides() {
    let server = S3Server::shared();
    server.create_bucket("data");
    let options = options_of(&server, ADMIN);
    let store = open("s3://data", &options).await;
    let keys = [
        "in/b.parquet",
        "in/a/run_id=1/c d+é.csv",
        "in/_SUCCESS",
        "in/.hidden/x.parquet",
        "in/_temporary/x.parquet",
        "in/folder/",
        "inner/other.parquet",
    ];
    for key in keys {
        let content = if key.ends_with('/') { "" } else { "content" };
        store.put(key, content.into()).await.unwrap();
    }
    let find = async |location: &str| Location::parse(location).unwrap().open_data_with(&options).await;

    let found = find("s3://data/in/").await.unwrap();
    let found_keys: Vec<_> = found.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(found_keys, ["a/run_id=1/c d+é.csv", "b.parquet"]);
    assert_eq!(found.location.to_string(), "s3://data/in");
    for object in &found.objects {
        let read = found.store.get_range(object, 0..object.size).await;
        assert_eq!(read.unwrap(), "content");
    }

    let one = find("s3://data/in/_SUCCESS").await.unwrap();
    assert_eq!((one.store.root(), one.objects.len(), one.objects[0].key.as_str()), ("s3://data/in", 1, "_SUCCESS"));
    assert_eq!(one.store.get("_SUCCESS").await.unwrap().0, "content");

    for nothing in ["s3://data/nothing", "s3://data/in/.hidden/nothing", "s3://data/in/folder"] {
        let found = find(nothing).await;
        assert!(matches!(&found, Err(Error::Data(text)) if text.contains(nothing)), "{found:?}");
    }
    let found = find("s3://no-such-bucket/in").await;
    assert!(matches!(&found, Err(Error::Access(text)) if text.contains("NoSuchBucket")), "{found:?}");
}

#[tokio::test]
async fn a_changed_object_is_found_out_by_who_still_reads_it() {
    let server = S3Server::shared();
    server.create_bucket("changed");
    let store = open("s3://changed", &options_of(&server, ADMIN)).await;
    let version = store.put("key", "before".into()).await.unwrap();
    store.put("key", "after!".into()).await.unwrap();
    let read = store.get_range(&object("key", 6, version), 0..3).await;
    assert!(matches!(&read, Err(StoreError::Changed(text)) if text.contains("s3://changed/key")), "{read:?}");
}

/// Runs [`child_reads_a_key`] in a process of its own, whose environment is `variables` and nothing that the SDK reads.
fn read_in_child(location: &str, variables: &[(String, String)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("AWS_") || name.to_lowercase().ends_with("_proxy"))
    {
        child.env_remove(name);
    }
    let child = child
        .args(["s3::tests::child_reads_a_key", "--exact", "--ignored", "--nocapture"])
        .env("STORAGE_TEST_LOCATION", location)
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .envs(variables.iter().cloned())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout).into_owned();
    let line = output.lines().find_map(|line| line.split_once("READ: ")).map(|(_, read)| read.to_owned());
    line.unwrap_or_else(|| panic!("{output}{}", String::from_utf8_lossy(&child.stderr)))
}

#[tokio::test]
#[ignore = "run by the tests below, in an environment of their own"]
async fn child_reads_a_key() {
    let location = Location::parse(&std::env::var("STORAGE_TEST_LOCATION").unwrap()).unwrap();
    let read = match location.open().await {
        Ok(store) => store.get("key").await.map(|(content, _)| content).map_err(Error::from),
        Err(error) => Err(error),
    };
    println!("READ: {read:?}");
}

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn the_environment_is_what_the_sdk_makes_of_it() {
    let server = S3Server::shared();
    server.create_bucket("environment");
    open("s3://environment", &options_of(&server, ADMIN)).await.put("key", "content".into()).await.unwrap();

    let given = server.env();
    assert_eq!(read_in_child("s3://environment", &given), "Ok(b\"content\")");

    // No region, the endpoint for all services, and a proxy that nobody runs: what a developer's machine may look like.
    let mut other = server.env();
    other.retain(|(name, _)| {
        name != "AWS_REGION" && name != "AWS_ENDPOINT_URL_S3" && !name.eq_ignore_ascii_case("NO_PROXY")
    });
    other.push(variable("AWS_ENDPOINT_URL", &server.endpoint()));
    other.extend(["HTTP_PROXY", "HTTPS_PROXY", "http_proxy"].map(|name| variable(name, "http://127.0.0.1:9")));
    assert_eq!(read_in_child("s3://environment", &other), "Ok(b\"content\")");
}

#[tokio::test]
async fn an_empty_endpoint_is_none_and_a_wrong_one_is_a_setting() {
    let server = S3Server::shared();
    server.create_bucket("endpoint");
    open("s3://endpoint", &options_of(&server, ADMIN)).await.put("key", "content".into()).await.unwrap();
    let mut variables = server.env();
    variables.push(variable("AWS_ENDPOINT_URL_S3", ""));
    variables.push(variable("AWS_ENDPOINT_URL", &server.endpoint()));
    assert_eq!(read_in_child("s3://endpoint", &variables), "Ok(b\"content\")");
    variables.push(variable("AWS_ENDPOINT_URL_S3", "nonsense"));
    let read = read_in_child("s3://endpoint", &variables);
    assert!(read.starts_with("Err(Setting(") && read.contains("'nonsense'"), "{read}");
}

#[tokio::test]
async fn without_credentials_it_ends_in_seconds_and_says_so() {
    let server = S3Server::shared();
    // A metadata service that takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metadata = format!("http://{}", silent.local_addr().unwrap());
    let variables = [
        variable("AWS_ENDPOINT_URL_S3", &server.endpoint()),
        variable("AWS_REGION", "us-east-1"),
        variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata),
    ];
    let started = Instant::now();
    let read = read_in_child("s3://environment", &variables);
    assert!(read.starts_with("Err(Access(") && read.contains("no credentials found"), "{read}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[tokio::test]
async fn without_region_or_endpoint_it_ends_in_seconds_and_says_so() {
    let variables = [
        variable("AWS_EC2_METADATA_DISABLED", "true"),
        variable("AWS_ACCESS_KEY_ID", "id"),
        variable("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let read = read_in_child("s3://environment", &variables);
    assert!(read.starts_with("Err(Setting(") && read.contains("AWS_REGION"), "{read}");
}

#[tokio::test]
async fn a_missing_bundle_in_the_environment_is_a_setting() {
    let read = read_in_child("s3://environment", &[variable("AWS_CA_BUNDLE", "/no/such/bundle.pem")]);
    assert!(read.starts_with("Err(Setting(") && read.contains("/no/such/bundle.pem"), "{read}");
}
