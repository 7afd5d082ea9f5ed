//! Everything wrong with a site file.

use super::check;
use super::error::Problem;
use super::kinds::schema_of;
use super::names;
use super::node::{Node, Table, Value};
use super::site::{CacheLayer, Endpoint, Site};
use super::source::Sources;
use crate::redact;

/// The settings that name variables with credentials of a cache layer.
const CREDENTIALS: [&str; 3] = ["key_id_env", "secret_env", "token_env"];

/// Checks a site file's document. What may be a key where a variable's name is
/// due is overwritten in the source, so that no message shows it.
pub(super) fn check(document: &Table, sources: &mut Sources, problems: &mut Vec<Problem>) {
    check::entries("a site file", document, &schema_of::<Site>(), problems);
    let schema = schema_of::<Endpoint>();
    for (entry, table) in names::tables(document, "endpoint", problems) {
        let subject = check::Subject {
            name: &format!("endpoint.{}", entry.key),
            of: "an endpoint",
            at: &entry.key_at,
        };
        check::table(&subject, table, &schema, problems);
        if let Some(node) = table.get("url")
            && let Some(problem) = url(node)
        {
            if node.as_str().is_some_and(|url| redact::url(url) != url) {
                sources.hide(&node.at);
            }
            problems.push(problem);
        }
        if let Some(node) = table.get("key_env")
            && let Some(problem) = key_env("key_env", node)
        {
            sources.hide(&node.at);
            problems.push(problem);
        }
        problems.extend(prices(table));
    }
    if let Some(Value::Array(layers)) = document.get("cache_layers").map(|node| &node.value) {
        for layer in layers.iter().filter_map(Node::as_table) {
            cache_layer(layer, sources, problems);
        }
    }
    if let Some(node) = document.get("devices") {
        devices(node, problems);
    }
    if let Some(node) = document.get("launcher") {
        launcher(node, problems);
    }
}

fn url(node: &Node) -> Option<Problem> {
    let text = node.as_str()?;
    let url = reqwest::Url::parse(text).ok();
    let usable = url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    (!usable).then(|| {
        Problem::at(&node.at, "`url` is no URL of a server", "not a URL")
            .hint("write it like http://127.0.0.1:8080/v1")
    })
}

/// What a setting about money lacks beside it.
fn prices(table: &Table) -> Option<Problem> {
    let keys = ["money_limit", "price_in", "price_out"];
    let entry = table.entries.iter().find(|e| keys.contains(&&*e.key))?;
    let lacks = |key: &&&str| table.get(key).is_none();
    let missing = keys[1..].iter().find(lacks)?;
    let entry = table
        .entries
        .iter()
        .find(|e| e.key == keys[0])
        .unwrap_or(entry);
    Some(
        Problem::at(
            &entry.key_at,
            format!("`{}` needs `{missing}` beside it", entry.key),
            format!("`{missing}` is missing"),
        )
        .hint("give both prices, for a million tokens of prompts and of replies: 0 if free"),
    )
}

fn cache_layer(table: &Table, sources: &mut Sources, problems: &mut Vec<Problem>) {
    if let Some(node) = table.get("url")
        && let Some(text) = node.as_str()
        && let Err(problem) = CacheLayer::at(text).place()
    {
        sources.hide(&node.at);
        let problem = Problem::at(&node.at, problem, "not the URL of a cache layer");
        let forms = "a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX";
        problems.push(problem.hint(format!("write {forms}")));
    }
    if let Some(node) = table.get("endpoint")
        && let Some(text) = node.as_str()
        && redact::url(text) != text
    {
        sources.hide(&node.at);
        let problem = "`endpoint` takes no credentials";
        let hint = "name the variables that hold them: `key_id_env`, `secret_env`";
        problems.push(Problem::at(&node.at, problem, "a URL with more in it").hint(hint));
    }
    let before = problems.len();
    for name in CREDENTIALS {
        if let Some(node) = table.get(name)
            && let Some(problem) = key_env(name, node)
        {
            sources.hide(&node.at);
            problems.push(problem);
        }
    }
    // What is no name may be a key: it is not quoted.
    if problems.len() == before {
        problems.extend(half_set(table));
    }
}

/// Credentials that are not whole.
fn half_set(table: &Table) -> Option<Problem> {
    let text = |name: &str| table.get(name).and_then(Node::as_str);
    let [key_id_env, secret_env, token_env] = CREDENTIALS.map(|name| text(name).map(str::to_owned));
    let layer = CacheLayer {
        key_id_env,
        secret_env,
        token_env,
        ..CacheLayer::at(text("url")?)
    };
    let (name, problem) = layer.half_set()?;
    let at = &table.get(name)?.at;
    Some(Problem::at(at, problem, "not enough by itself").hint(
        "S3 takes `key_id_env` and `secret_env`, gs `secret_env`, az `secret_env` or `token_env`",
    ))
}

fn key_env(key: &str, node: &Node) -> Option<Problem> {
    let name = node.as_str()?;
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!starts || !name.chars().all(fits)).then(|| {
        Problem::at(
            &node.at,
            format!("`{key}` takes the name of an environment variable, and this is none"),
            "not a name",
        )
        .hint("put the key itself into a variable, and that variable's name here")
    })
}

fn devices(node: &Node, problems: &mut Vec<Problem>) {
    let items = node.one_or_many();
    for item in items {
        let Some(name) = item.as_str() else {
            continue; // the type was reported already
        };
        let number = name.strip_prefix("cuda:");
        let known = matches!(name, "cpu" | "cuda")
            || number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        if !known {
            problems.push(
                Problem::at(&item.at, format!("there is no device `{name}`"), "unknown")
                    .hint("devices are `cpu`, `cuda` and `cuda:N`"),
            );
        }
    }
}

fn launcher(node: &Node, problems: &mut Vec<Problem>) {
    let Value::Array(items) = &node.value else {
        return; // the type was reported already
    };
    let empty = items.iter().filter(|item| item.as_str() == Some(""));
    problems.extend(empty.map(|item| {
        Problem::at(&item.at, "`launcher` holds an empty string", "nothing here")
            .hint("write a program and its arguments, like [\"nice\", \"-n\", \"10\"]")
    }));
}
