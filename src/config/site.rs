//! The site file: what may differ between machines and never enters a key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::redact;

/// `moreline.toml` beside the experiment, or in the user's configuration
/// directory; every field has a default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Site {
    /// Cache directory; by default `cache/` beside the nearest `Cargo.toml` or
    /// `.git` above the experiment, else `.moreline-cache` beside it.
    pub cache: Option<PathBuf>,
    /// Devices that stages may use, for example `["cuda:0", "cuda:1"]`;
    /// `["cpu"]` if empty. One worker at a time runs on each; name a device
    /// several times for as many workers at once.
    #[schemars(inner(regex(pattern = r"^(cpu|cuda(:[0-9]+)?)$")))]
    pub devices: Vec<String>,
    /// Stages at once, unless `-j` says otherwise; as devices and cores allow
    /// if absent.
    #[schemars(range(min = 1))]
    pub jobs: Option<u32>,
    /// Compute threads of a CPU worker; all cores if absent.
    #[schemars(range(min = 1))]
    pub threads: Option<u32>,
    /// Largest number of tokens a worker computes at once; if absent 3072 on the
    /// CPU and 4096 on a GPU.
    #[schemars(range(min = 1))]
    pub token_budget: Option<u32>,
    /// The worker program; `moreline-worker` beside `moreline` if absent.
    pub worker: Option<PathBuf>,
    /// The command that starts worker processes, put before the worker program:
    /// `["nice", "-n", "10"]`, or `["srun", "--ntasks=1", "--gres=gpu:1"]` where
    /// the cache is on a shared folder.
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub launcher: Option<Vec<String>>,
    /// What workers may use of the machine.
    pub limits: Limits,
    /// Whether each run's folder gets TensorBoard event files; it does if absent.
    pub tensorboard: Option<bool>,
    /// Caches shared with others, asked in this order for what this machine's
    /// cache lacks.
    pub cache_layers: Vec<CacheLayer>,
    /// OpenAI-compatible endpoints by name.
    pub endpoint: BTreeMap<String, Endpoint>,
}

/// What workers may use of a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory that the workers on the CPU may hold together, in MB (2^20 bytes);
    /// as much as they like if absent. A stage starts beside others only if what
    /// it held at its peak when it last ran, or what the largest of its kind
    /// did, fits beside them; where neither is known it runs alone. On Linux a
    /// worker that alone holds more is ended. Workers on GPUs do not count.
    #[schemars(range(min = 1))]
    pub memory_mb: Option<u32>,
}

/// A cache shared with others, in a folder or a bucket. Trust those who may
/// write to it: a result is taken for what its key says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheLayer {
    /// A folder, or `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or
    /// `az://CONTAINER/PREFIX`.
    pub url: String,
    /// `read`, or `read-write` to give it what is computed here.
    #[serde(default)]
    pub mode: LayerMode,
    /// URL of the service, if it is not the public one.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Region of an S3 bucket.
    #[serde(default)]
    pub region: Option<String>,
    /// Storage account of an Azure container.
    #[serde(default)]
    pub account: Option<String>,
    /// Name of the environment variable that holds the S3 access key's id.
    #[serde(default)]
    pub key_id_env: Option<String>,
    /// Name of the environment variable that holds the secret: the S3 secret
    /// key, the Azure access key, or a Google service account's JSON.
    #[serde(default)]
    pub secret_env: Option<String>,
    /// Name of the environment variable that holds a session token (S3) or a
    /// bearer token (Azure).
    #[serde(default)]
    pub token_env: Option<String>,
    /// Seconds before a request counts as failed.
    #[serde(default = "layer_timeout")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub timeout_s: f64,
    /// Times a failed request is tried again.
    #[serde(default = "layer_retries")]
    pub retries: u32,
}

/// What may be done with a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LayerMode {
    /// Results are taken from it.
    #[default]
    Read,
    /// And what is computed here is given to it.
    ReadWrite,
}

/// Where a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerPlace {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket or container.
    Bucket {
        /// `s3`, `gs` or `az`.
        scheme: &'static str,
        /// The bucket's name.
        bucket: String,
        /// What names in it begin with; may be empty.
        prefix: String,
    },
}

impl CacheLayer {
    /// A layer at a URL, all else as it is by default: read, without credentials.
    pub fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            mode: LayerMode::Read,
            endpoint: None,
            region: None,
            account: None,
            key_id_env: None,
            secret_env: None,
            token_env: None,
            timeout_s: layer_timeout(),
            retries: layer_retries(),
        }
    }

    /// Where it is, or what is wrong with its URL.
    pub fn place(&self) -> Result<LayerPlace, String> {
        let Some((scheme, rest)) = self.url.split_once("://") else {
            return Ok(LayerPlace::Folder(PathBuf::from(&self.url)));
        };
        let Some(scheme) = ["s3", "gs", "az"]
            .into_iter()
            .find(|known| *known == scheme)
        else {
            return Err(format!("`{scheme}` is no kind of cache layer"));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // Not quoted: they may hold a secret.
        if bucket.is_empty() || bucket.contains('@') {
            let problem = "what follows `://` does not begin with the plain name of a bucket";
            return Err(problem.into());
        }
        if rest.contains(['?', '#']) {
            return Err("a bucket's URL takes no `?` and no `#`: tokens go into variables".into());
        }
        Ok(LayerPlace::Bucket {
            scheme,
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
        })
    }

    /// The setting whose variable is of no use as it stands, and why. Half of the
    /// credentials must never mean those that the machine happens to have.
    pub fn half_set(&self) -> Option<(&'static str, String)> {
        let LayerPlace::Bucket { scheme, .. } = self.place().ok()? else {
            return None;
        };
        let id = ("key_id_env", &self.key_id_env);
        let secret = ("secret_env", &self.secret_env);
        let token = ("token_env", &self.token_env);
        // Each is of no use without all that follow it.
        let needs: &[(_, &[_])] = match scheme {
            "s3" => &[(id, &[secret]), (secret, &[id]), (token, &[id, secret])],
            _ => &[],
        };
        let lacking = needs.iter().find_map(|((name, value), others)| {
            let variable = value.as_ref()?;
            let (other, _) = others.iter().find(|(_, value)| value.is_none())?;
            let problem = format!("`{name}` names `{variable}`, and no `{other}` is beside it");
            Some((*name, problem))
        });
        let unused: &[_] = match scheme {
            "gs" => &[id, token],
            "az" => &[id],
            _ => &[],
        };
        lacking.or_else(|| {
            let (name, variable) = unused.iter().find(|(_, value)| value.is_some())?;
            let variable = variable.as_deref().unwrap_or_default();
            let problem = format!("`{name}` names `{variable}`, and `{scheme}` has no use for it");
            Some((*name, problem))
        })
    }

    /// The environment variables it names.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let names = [&self.key_id_env, &self.secret_env, &self.token_env];
        names.into_iter().filter_map(|name| name.as_deref())
    }
}

/// An OpenAI-compatible HTTP endpoint. Prints its URL without credentials.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("dependentRequired" = {
    "price_in": ["price_out"],
    "price_out": ["price_in"],
    "money_limit": ["price_in", "price_out"]
}))]
pub struct Endpoint {
    /// Base URL, for example `http://127.0.0.1:8080/v1`.
    #[schemars(regex(pattern = r"^[hH][tT][tT][pP][sS]?://"))]
    pub url: String,
    /// Name of the environment variable that holds the key; none is sent if absent.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub key_env: Option<String>,
    /// Requests in flight at once.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1))]
    pub concurrency: u32,
    /// Seconds before a request counts as failed.
    #[serde(default = "timeout")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub timeout_s: f64,
    /// Times a failed request is tried again.
    #[serde(default = "retries")]
    pub retries: u32,
    /// Stop a judge cleanly after this many tokens, earlier runs included.
    #[serde(default)]
    pub token_limit: Option<u64>,
    /// What a million tokens of a prompt cost.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub price_in: Option<f64>,
    /// What a million tokens of a reply cost.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub price_out: Option<f64>,
    /// What prices and costs are called; nothing is converted.
    #[serde(default = "currency")]
    pub currency: String,
    /// Stop a judge cleanly once its calls have cost so much, earlier runs
    /// included; needs both prices.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub money_limit: Option<f64>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &redact::url(&self.url))
            .field("key_env", &self.key_env)
            .field("concurrency", &self.concurrency)
            .field("timeout_s", &self.timeout_s)
            .field("retries", &self.retries)
            .field("token_limit", &self.token_limit)
            .field("price_in", &self.price_in)
            .field("price_out", &self.price_out)
            .field("currency", &self.currency)
            .field("money_limit", &self.money_limit)
            .finish()
    }
}

fn concurrency() -> u32 {
    4
}
fn timeout() -> f64 {
    120.0
}
fn retries() -> u32 {
    5
}
fn currency() -> String {
    "USD".into()
}
fn layer_timeout() -> f64 {
    30.0
}
fn layer_retries() -> u32 {
    2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<LayerPlace, String> {
        CacheLayer::at(url).place()
    }

    #[test]
    fn urls_are_told_apart() {
        let bucket = |scheme, bucket: &str, prefix: &str| LayerPlace::Bucket {
            scheme,
            bucket: bucket.into(),
            prefix: prefix.into(),
        };
        assert_eq!(place("s3://b/a/c/").unwrap(), bucket("s3", "b", "a/c"));
        assert_eq!(place("gs://b").unwrap(), bucket("gs", "b", ""));
        assert_eq!(
            place("/shared").unwrap(),
            LayerPlace::Folder("/shared".into())
        );
        for wrong in ["ftp://b", "s3:///x", "s3://key:secret@b/x"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
