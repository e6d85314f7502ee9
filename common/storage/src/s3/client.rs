//! The SDK's client, set up from the environment: nothing here is a setting of ours.
//!
//! Region, credentials chain, profile, endpoint, retries (`AWS_MAX_ATTEMPTS`, `AWS_RETRY_MODE`) and checksums of requests
//! (`AWS_REQUEST_CHECKSUM_CALCULATION`) are read by the SDK. `AWS_CA_BUNDLE` and `HTTPS_PROXY`/`NO_PROXY`, which it
//! leaves to the HTTP client, are read here. Requests without TLS (a local endpoint, the metadata services that hand out
//! credentials) never go through a proxy.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::identity::IdentityCache;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, RuntimeComponents, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext};
use aws_smithy_http_client::{Builder, Connector};
use aws_types::service_config::ServiceConfigKey;

use super::{S3Options, answers, ca_bundle, set_variable};
use error::text::without_userinfo;
use error::{Error, Result};

/// From the request's first byte to the answer's first, and for one attempt: enough for a part of 8 MiB at 5 Mbit/s.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// What a slow line still sends: requests with a larger body may take longer in proportion.
const SLOW_LINE_BYTES_PER_SECOND: u64 = 512 << 10;
/// How long a body may stand still before the SDK gives it up.
const STALL_GRACE: Duration = Duration::from_secs(10);
/// For the whole credentials chain, which ends at a metadata service that most machines do not have.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(10);
/// Where a custom endpoint is set and no region: what such servers expect.
const REGION_OF_CUSTOM_ENDPOINTS: &str = "us-east-1";

/// The environment's settings for another service of AWS: the same HTTP client, proxy, certificates, region, credentials and
/// timeouts as S3 is spoken to with. An endpoint of the service's own is found by the service's client.
///
/// # Errors
/// [`Error::Setting`] where the settings of the SDK or `AWS_CA_BUNDLE` are wrong, or no region is set.
pub async fn sdk_config() -> Result<SdkConfig> {
    let options = S3Options::default();
    let http_client = http_client(&options)?;
    let shared = load(&options, http_client.clone()).await;
    let region = match shared.region().cloned() {
        Some(region) => region,
        None if custom_endpoint(&shared)?.is_some() => Region::from_static(REGION_OF_CUSTOM_ENDPOINTS),
        None => region_of_instance(http_client).await?,
    };
    Ok(shared.into_builder().region(region).build())
}

/// Sets the client up. Nobody is asked anything yet but, where no region is set, EC2's metadata service.
pub(super) async fn connect(options: &S3Options) -> Result<Client> {
    let http_client = http_client(options)?;
    let shared = load(options, http_client.clone()).await;
    let endpoint = custom_endpoint(&shared)?.map(without_credentials);
    let has_custom_endpoint = endpoint.is_some();
    let region = match shared.region().cloned() {
        Some(region) => region,
        None if has_custom_endpoint => Region::from_static(REGION_OF_CUSTOM_ENDPOINTS),
        None => region_of_instance(http_client).await?,
    };
    if !is_fit_for_header(region.as_ref()) {
        let region = region.as_ref().escape_debug();
        return Err(Error::Setting(format!(
            "the region '{region}' (AWS_REGION) holds what no region has: a line break?"
        )));
    }
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .region(region)
        .force_path_style(has_custom_endpoint)
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL_GRACE).build());
    config.set_endpoint_url(endpoint);
    if let Some(credentials) = shared.credentials_provider() {
        config = config.credentials_provider(CheckedCredentials(credentials));
    }
    if is_unset("AWS_REQUEST_CHECKSUM_CALCULATION") {
        config.set_request_checksum_calculation(Some(RequestChecksumCalculation::WhenRequired));
    }
    Ok(Client::from_conf(config.build()))
}

/// The timeouts of a request with a body of `bytes`.
pub(super) fn timeouts(bytes: usize) -> TimeoutConfig {
    let sending = Duration::from_secs(bytes as u64 / SLOW_LINE_BYTES_PER_SECOND);
    TimeoutConfig::builder()
        .read_timeout(READ_TIMEOUT + sending)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT + sending)
        .build()
}

async fn load(options: &S3Options, http_client: SharedHttpClient) -> SdkConfig {
    let configured = RegionProviderChain::first_try(options.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client)
        .region(configured)
        .timeout_config(timeouts(0))
        .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT).build());
    if let Some(endpoint) = &options.endpoint_url {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some((id, secret)) = &options.access_key {
        loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "options"));
    }
    loader.load().await
}

/// `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, or what the profile says, as the SDK's S3 client itself finds it, but for
/// an empty variable, which counts as unset.
fn custom_endpoint(shared: &SdkConfig) -> Result<Option<String>> {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let for_s3 = key.ok().and_then(|key| shared.service_config()?.load_config(key));
    let for_all = shared.endpoint_url().map(str::to_owned);
    match for_s3.into_iter().chain(for_all).find(|endpoint| !endpoint.is_empty()) {
        Some(endpoint) if !is_http_url(&endpoint) => Err(Error::Setting(format!(
            "AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL: '{}' is no URL such as http://host:9000",
            without_userinfo(&endpoint).escape_debug()
        ))),
        endpoint => Ok(endpoint),
    }
}

/// Nobody asks for a name and a password there, and the SDK would write them into its log.
fn without_credentials(endpoint: String) -> String {
    let Some((scheme, rest)) = endpoint.split_once("://") else { return endpoint };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let Some((userinfo, _)) = authority.rsplit_once('@') else { return endpoint };
    tracing::warn!(
        "the name and password in AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL are not used: S3 takes an access key"
    );
    format!("{scheme}://{}", &rest[userinfo.len() + 1..])
}

/// Credentials whose parts can be sent: the SDK would panic at a line break in a key's id.
#[derive(Debug)]
struct CheckedCredentials(SharedCredentialsProvider);

impl ProvideCredentials for CheckedCredentials {
    fn provide_credentials<'provider>(&'provider self) -> future::ProvideCredentials<'provider>
    where
        Self: 'provider,
    {
        future::ProvideCredentials::new(async {
            let credentials = self.0.provide_credentials().await?;
            let parts = [
                ("the access key id (AWS_ACCESS_KEY_ID)", Some(credentials.access_key_id())),
                ("the session token (AWS_SESSION_TOKEN)", credentials.session_token()),
            ];
            let unfit = parts.into_iter().find(|(_, part)| part.is_some_and(|part| !is_fit_for_header(part)));
            match unfit {
                Some((name, _)) => Err(CredentialsError::invalid_configuration(format!(
                    "{name} holds a line break or another character that none has"
                ))),
                None => Ok(credentials),
            }
        })
    }
}

fn is_fit_for_header(text: &str) -> bool {
    text.chars().all(|character| !character.is_control() && !character.is_whitespace())
}

fn is_http_url(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/') && !host.contains(char::is_whitespace))
}

async fn region_of_instance(http_client: SharedHttpClient) -> Result<Region> {
    let config = ProviderConfig::without_region().with_http_client(http_client);
    let provider = ImdsRegionProvider::builder().configure(&config).build();
    let asked = tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.region()).await;
    asked.ok().flatten().ok_or_else(|| {
        Error::Setting(
            "no region for S3: set AWS_REGION, or a region in the profile (or AWS_ENDPOINT_URL_S3 for another server)"
                .to_owned(),
        )
    })
}

fn http_client(options: &S3Options) -> Result<SharedHttpClient> {
    let mut tls = TlsContext::builder();
    if let Some(trusted) = ca_bundle::store(options)? {
        tls = tls.with_trust_store(trusted);
    }
    let tls = tls.build().map_err(|error| Error::Setting(format!("TLS cannot be set up: {error}")))?;
    let proxy = https_proxy()?;
    let client = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls.clone())
            .proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.build()
    });
    Ok(answers::bounded(client))
}

fn https_proxy() -> Result<ProxyConfig> {
    let Some(url) = ["HTTPS_PROXY", "https_proxy"].into_iter().find_map(set_variable) else {
        return Ok(ProxyConfig::disabled());
    };
    let direct = ["NO_PROXY", "no_proxy"].into_iter().find_map(set_variable).unwrap_or_default();
    let proxy = ProxyConfig::https(url).map_err(|_| Error::Setting("HTTPS_PROXY is no URL".to_owned()))?;
    Ok(proxy.no_proxy(format!("localhost,127.0.0.1,::1,{direct}")))
}

fn is_unset(name: &str) -> bool {
    set_variable(name).is_none()
}
