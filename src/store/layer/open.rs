//! From a layer's settings to something that takes requests.

use std::time::Duration;

use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::LayerSecrets;
use super::problem::LayerProblem;
use super::remote::{Place, Remote};
use crate::config::{CacheLayer, LayerMode, LayerPlace};

/// Region of an S3 layer that names none; servers of one's own ignore it.
const REGION: &str = "us-east-1";
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Credentials, as far as the settings name them.
#[derive(Default)]
struct Credentials<'a> {
    key_id: Option<&'a str>,
    secret: Option<&'a str>,
    token: Option<&'a str>,
}

impl<'a> Credentials<'a> {
    fn of(layer: &'a CacheLayer, secrets: &'a LayerSecrets) -> Result<Self, LayerProblem> {
        if let Some((_, problem)) = layer.half_set() {
            return Err(LayerProblem::Configured(problem));
        }
        let value = |name: &'a Option<String>| match name {
            None => Ok(None),
            Some(name) => match secrets.get(name) {
                Some(value) => Ok(Some(value.trim())),
                None => Err(LayerProblem::Configured(format!(
                    "the environment variable `{name}` is not set, or empty"
                ))),
            },
        };
        Ok(Self {
            key_id: value(&layer.key_id_env)?,
            secret: value(&layer.secret_env)?,
            token: value(&layer.token_env)?,
        })
    }

    fn are_absent(&self) -> bool {
        self.secret.is_none() && self.token.is_none()
    }

    fn values(&self) -> Vec<String> {
        let all = [self.key_id, self.secret, self.token].into_iter().flatten();
        all.map(str::to_owned).collect()
    }
}

/// Opens a layer; sends nothing.
pub(super) fn open(layer: &CacheLayer, secrets: &LayerSecrets) -> Result<Remote, LayerProblem> {
    let credentials = Credentials::of(layer, secrets)?;
    let timeout = Duration::from_secs_f64(layer.timeout_s.clamp(0.1, 3600.0));
    let patience = timeout.saturating_mul(layer.retries.saturating_add(1));
    let place = match layer.place().map_err(LayerProblem::Configured)? {
        LayerPlace::Folder(folder) => Place {
            store: open_folder(&folder, layer.mode)?,
            prefix: String::new(),
            is_folder: true,
        },
        LayerPlace::Bucket {
            scheme,
            bucket,
            prefix,
        } => {
            refuse_plain(layer, scheme, &credentials)?;
            let client = Client {
                layer,
                credentials: &credentials,
                options: client_options(layer, timeout),
                retry: retries(layer, patience),
            };
            let store = match scheme {
                "s3" => client.s3(&bucket),
                "gs" => client.gcs(&bucket),
                _ => client.azure(&bucket),
            };
            Place {
                store: store.map_err(|error| configured(&error, &credentials))?,
                prefix,
                is_folder: false,
            }
        }
    };
    Remote::new(place, patience, credentials.values())
}

/// An S3 secret signs and is not sent; the others' credentials are.
fn refuse_plain(
    layer: &CacheLayer,
    scheme: &str,
    credentials: &Credentials<'_>,
) -> Result<(), LayerProblem> {
    let endpoint = layer.endpoint.as_deref().unwrap_or_default();
    let rest = endpoint.strip_prefix("http://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_name = |name: &str| {
        let port = host
            .strip_prefix(name)
            .map(|rest| rest.strip_prefix(':').unwrap_or(rest));
        port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let local = ["127.0.0.1", "localhost", "[::1]"];
    let is_plain = !host.is_empty() && !local.into_iter().any(is_name);
    if scheme != "s3" && is_plain && !credentials.are_absent() {
        let problem = "its credentials would be sent unencrypted; give an https endpoint";
        return Err(LayerProblem::Configured(problem.into()));
    }
    Ok(())
}

fn open_folder(
    folder: &std::path::Path,
    mode: LayerMode,
) -> Result<Box<dyn ObjectStore>, LayerProblem> {
    let failed = |error: String| LayerProblem::Configured(error);
    if mode == LayerMode::ReadWrite {
        std::fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
    }
    let store = LocalFileSystem::new_with_prefix(folder);
    Ok(Box::new(store.map_err(|error| failed(error.to_string()))?))
}

/// An error of the settings, without the secrets it may quote.
fn configured(error: &object_store::Error, credentials: &Credentials<'_>) -> LayerProblem {
    let mut text = error.to_string();
    for secret in credentials.values() {
        text = text.replace(&secret, "***");
    }
    LayerProblem::Configured(text)
}

fn client_options(layer: &CacheLayer, timeout: Duration) -> ClientOptions {
    let plain = layer.endpoint.as_deref();
    ClientOptions::new()
        .with_timeout(timeout)
        .with_connect_timeout(timeout.min(CONNECT))
        .with_allow_http(plain.is_some_and(|url| url.starts_with("http://")))
}

fn retries(layer: &CacheLayer, patience: Duration) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: usize::try_from(layer.retries).unwrap_or(usize::MAX),
        retry_timeout: patience,
    }
}

/// What the clients of all services share. Credentials are those that the
/// settings name, or none: the machine's own are not searched for.
struct Client<'a> {
    layer: &'a CacheLayer,
    credentials: &'a Credentials<'a>,
    options: ClientOptions,
    retry: RetryConfig,
}

impl Client<'_> {
    fn s3(self, bucket: &str) -> object_store::Result<Box<dyn ObjectStore>> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(self.layer.region.as_deref().unwrap_or(REGION))
            .with_checksum_algorithm(Checksum::SHA256)
            .with_skip_signature(self.credentials.are_absent())
            .with_client_options(self.options)
            .with_retry(self.retry);
        if let Some(endpoint) = &self.layer.endpoint {
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_allow_http(endpoint.starts_with("http://"));
        }
        if let (Some(id), Some(secret)) = (self.credentials.key_id, self.credentials.secret) {
            builder = builder
                .with_access_key_id(id)
                .with_secret_access_key(secret);
        }
        if let Some(token) = self.credentials.token {
            builder = builder.with_token(token);
        }
        Ok(Box::new(builder.build()?))
    }

    fn gcs(self, bucket: &str) -> object_store::Result<Box<dyn ObjectStore>> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_skip_signature(self.credentials.are_absent())
            .with_client_options(self.options)
            .with_retry(self.retry);
        if let Some(endpoint) = &self.layer.endpoint {
            builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        }
        if let Some(account) = self.credentials.secret {
            builder = builder.with_service_account_key(account);
        }
        Ok(Box::new(builder.build()?))
    }

    fn azure(self, container: &str) -> object_store::Result<Box<dyn ObjectStore>> {
        let mut builder = MicrosoftAzureBuilder::new()
            .with_container_name(container)
            .with_account(self.layer.account.as_deref().unwrap_or_default())
            .with_skip_signature(self.credentials.are_absent())
            .with_client_options(self.options)
            .with_retry(self.retry);
        if let Some(endpoint) = &self.layer.endpoint {
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/').to_owned())
                .with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some(key) = self.credentials.secret {
            builder = builder.with_access_key(key);
        }
        if let Some(token) = self.credentials.token {
            builder = builder.with_bearer_token_authorization(token);
        }
        Ok(Box::new(builder.build()?))
    }
}
