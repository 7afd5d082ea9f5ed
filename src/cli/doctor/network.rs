//! The model hub and the endpoints: how they are set up, and, if asked for,
//! whether they answer. No key is sent or shown.

use std::time::Duration;

use reqwest::Url;
use reqwest::blocking::Client;

use super::Finding;
use crate::cli::session;
use crate::config::{Endpoint, Site};
use crate::redact;
use crate::store::HUB;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at the hub and every endpoint; asks them only if `ask`.
pub(super) fn look(site: &Site, ask: bool) -> Vec<Finding> {
    let mut findings = vec![hub(site, ask)];
    let endpoints = site.endpoint.iter();
    findings.extend(endpoints.map(|(name, endpoint)| one_endpoint(name, endpoint, ask)));
    findings
}

fn hub(site: &Site, ask: bool) -> Finding {
    let environment = session::environment(site);
    let url = environment.hf_endpoint.as_deref().unwrap_or(HUB);
    let token = if environment.hf_token.is_some() {
        "set"
    } else {
        "not set"
    };
    let mut found = format!("{}, HF_TOKEN {token}", redact::url(url));
    if environment.offline {
        found.push_str(", never asked (HF_HUB_OFFLINE)");
    }
    if Url::parse(url).ok().is_none_or(|url| !url.has_host()) {
        let hint = "set HF_ENDPOINT to a URL, or unset it";
        return Finding::fail("model hub", format!("{found}: no URL"), hint);
    }
    if !ask || environment.offline {
        return Finding::ok("model hub", found);
    }
    match answer(url) {
        Ok(status) => Finding::ok("model hub", format!("{found}, answers {status}")),
        Err(reason) => Finding::warn(
            "model hub",
            format!("{found}: {reason}"),
            "models that are fetched or local need no hub; behind a proxy set https_proxy",
        ),
    }
}

fn one_endpoint(name: &str, endpoint: &Endpoint, ask: bool) -> Finding {
    let topic = format!("endpoint {name}");
    let mut found = redact::url(&endpoint.url);
    if let Some(variable) = &endpoint.key_env {
        let set = session::lookup(variable).is_some_and(|value| !value.trim().is_empty());
        found.push_str(&format!(", key in {variable}"));
        if !set {
            let hint = format!("export {variable}=... before a run that asks it");
            return Finding::warn(topic, format!("{found}, which is not set"), hint);
        }
        found.push_str(" (set)");
    }
    if !ask {
        return Finding::ok(topic, found);
    }
    match answer(&format!("{}/models", endpoint.url.trim_end_matches('/'))) {
        Ok(status) => Finding::ok(topic, format!("{found}, answers {status}")),
        Err(reason) => Finding::warn(
            topic,
            format!("{found}: {reason}"),
            "start the server, or mend `url` in the site file",
        ),
    }
}

/// The status of a server's answer, whatever it says; it is there.
fn answer(url: &str) -> Result<u16, String> {
    let local = ["127.0.0.1", "localhost", "[::1]"];
    let parsed = Url::parse(url).map_err(|error| error.to_string())?;
    let mut client = Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none());
    if local.contains(&parsed.host_str().unwrap_or_default()) {
        client = client.no_proxy();
    }
    let client = client.build().map_err(|error| error.to_string())?;
    match client.get(parsed).send() {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) if error.is_timeout() => Err("no answer in time".into()),
        Err(_) => Err("no connection".into()),
    }
}
