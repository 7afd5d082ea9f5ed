//! The hub's HTTP interface.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;

use super::{HUB, Hub, HubModel};
use crate::digest::Digest;
use crate::redact;
use crate::store::StoreError;
use crate::store::manifest::is_safe;

/// Largest answer taken as a listing.
const MAX_LISTING: u64 = 16 << 20;
/// Seconds without a byte after which a connection counts as lost.
const SILENCE: Duration = Duration::from_secs(60);
/// Extensions of the files a model consists of.
const MODEL_FILES: [&str; 5] = ["json", "safetensors", "jinja", "txt", "model"];

/// One model at one hub.
pub(super) struct Api {
    client: Client,
    base: String,
    token: Option<HeaderValue>,
    pub(super) model: HubModel,
    /// What to do without a network.
    without: &'static str,
}

/// A model's files at a commit.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<RemoteFile>,
}

/// One file at the hub.
pub(super) struct RemoteFile {
    pub(super) path: String,
    pub(super) size: u64,
    /// Known for files in large-file storage.
    pub(super) sha256: Option<Digest>,
}

#[derive(Deserialize)]
struct RawListing {
    sha: String,
    #[serde(default)]
    siblings: Vec<RawFile>,
}

#[derive(Deserialize)]
struct RawFile {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    lfs: Option<RawLfs>,
}

#[derive(Deserialize)]
struct RawLfs {
    sha256: Digest,
    size: u64,
}

impl Api {
    pub(super) fn new(hub: &Hub, model: &HubModel) -> Result<Self, StoreError> {
        let base = hub.endpoint.as_deref().unwrap_or(HUB).trim_end_matches('/');
        let error = |problem: String, hint: &str| StoreError::Fetch {
            what: model.to_string(),
            problem,
            hint: hint.into(),
        };
        let without = match model.repo.starts_with("datasets/") {
            true => OFFLINE_FILE,
            false => OFFLINE,
        };
        if hub.offline {
            return Err(error("it is not in the cache".into(), without));
        }
        let url = reqwest::Url::parse(base).map_err(|e| {
            let shown = redact::url(base);
            error(format!("the hub's URL `{shown}`: {e}"), "mend HF_ENDPOINT")
        })?;
        let local = url.host_str().is_some_and(is_loopback);
        let mut client = Client::builder()
            .user_agent(concat!("moreline/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(20))
            .timeout(SILENCE)
            .no_gzip();
        if local {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|e| error(chain(&e), ""))?;
        let token = hub
            .token
            .as_deref()
            .filter(|_| local || url.scheme() == "https")
            .and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok())
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        Ok(Self {
            client,
            base: base.to_owned(),
            token,
            model: model.clone(),
            without,
        })
    }

    /// The model's commit and the files of it that matter.
    pub(super) fn list(&self) -> Result<Listing, StoreError> {
        let listing = self.ask("models/")?;
        self.choose(listing)
    }

    /// One file of a data set, and the commit it is of.
    pub(super) fn find(&self, file: &str) -> Result<(String, RemoteFile), StoreError> {
        let listing = self.ask("")?;
        let commit = self.commit(&listing)?;
        let found = listing.siblings.into_iter().find(|f| f.rfilename == file);
        match found {
            Some(found) => Ok((commit, self.remote(found)?)),
            None => Err(self.error(
                format!("it holds no file {file}"),
                "check its path in the repository",
            )),
        }
    }

    /// What the hub says of a repository at a revision.
    fn ask(&self, kind: &str) -> Result<RawListing, StoreError> {
        use std::io::Read;
        let HubModel { repo, revision } = &self.model;
        let revision = revision.replace('/', "%2F");
        let path = format!("api/{kind}{repo}/revision/{revision}?blobs=true");
        let response = self.get(&path).send().map_err(|e| self.offline(&e))?;
        let response = self.accept(response)?;
        let mut bytes = Vec::new();
        response
            .take(MAX_LISTING)
            .read_to_end(&mut bytes)
            .map_err(|e| self.error(e.to_string(), "try again"))?;
        serde_json::from_slice(&bytes)
            .map_err(|e| self.error(format!("the hub's answer makes no sense: {e}"), ""))
    }

    fn commit(&self, listing: &RawListing) -> Result<String, StoreError> {
        let hex = listing.sha.bytes().all(|byte| byte.is_ascii_hexdigit());
        if listing.sha.len() < 7 || !hex {
            let problem = format!("the hub names no commit but `{}`", listing.sha);
            return Err(self.error(problem, ""));
        }
        Ok(listing.sha.clone())
    }

    fn choose(&self, listing: RawListing) -> Result<Listing, StoreError> {
        let commit = self.commit(&listing)?;
        let chosen = listing
            .siblings
            .into_iter()
            .filter(|f| counts(&f.rfilename));
        let files = chosen
            .map(|file| self.remote(file))
            .collect::<Result<Vec<_>, _>>()?;
        let has = |wanted: &dyn Fn(&str) -> bool| files.iter().any(|f| wanted(&f.path));
        if !has(&|path| path == "config.json") {
            return Err(self.error("it holds no config.json".into(), "name a model repository"));
        }
        if !has(&|path| path.ends_with(".safetensors")) {
            return Err(self.error(
                "it holds no safetensors weights".into(),
                "name a revision that does, or convert it and give the directory as `source`",
            ));
        }
        Ok(Listing { commit, files })
    }

    fn remote(&self, file: RawFile) -> Result<RemoteFile, StoreError> {
        let path = file.rfilename;
        let size = file.lfs.as_ref().map(|lfs| lfs.size).or(file.size);
        let Some(size) = size else {
            return Err(self.error(format!("the hub does not tell the size of {path}"), ""));
        };
        Ok(RemoteFile {
            path,
            size,
            sha256: file.lfs.map(|lfs| lfs.sha256),
        })
    }

    /// A request for a path of this hub, with the token.
    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        let request = self.client.get(format!("{}/{path}", self.base));
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token.clone()),
            None => request,
        }
    }

    /// Turns an answer that is no success into an error that says what to do.
    pub(super) fn accept(&self, response: Response) -> Result<Response, StoreError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "it is private or gated: accept its terms on the hub, and set HF_TOKEN to a token \
                 that may read it"
            }
            StatusCode::NOT_FOUND => {
                "check repository and revision; for a private one set HF_TOKEN"
            }
            _ => "try again later",
        };
        Err(self.error(format!("the hub answered {status}"), hint))
    }

    pub(super) fn offline(&self, error: &reqwest::Error) -> StoreError {
        self.error(chain(error), self.without)
    }

    pub(super) fn error(&self, problem: String, hint: &str) -> StoreError {
        StoreError::Fetch {
            what: self.model.to_string(),
            problem,
            hint: hint.into(),
        }
    }
}

const OFFLINE: &str = "run once with a network, or put its files (config.json, tokenizer.json, \
    *.safetensors) into a directory and name that as the model's `source`";

const OFFLINE_FILE: &str = "run once with a network, or download the file and name it as the \
    set's `path`";

/// Files at the top of the repository that a model is made of.
fn counts(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension);
    is_safe(path)
        && !path.contains('/')
        && !path.starts_with('.')
        && extension.is_some_and(|extension| MODEL_FILES.contains(&extension))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host == "[::1]" || host.starts_with("127.")
}

/// An error with its causes, without the URL (which could hold a signature).
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    match (error.is_timeout(), text.is_empty()) {
        (true, _) => "no answer in time".into(),
        (false, true) => "the connection failed".into(),
        (false, false) => redact::text(&text).into_owned(),
    }
}
