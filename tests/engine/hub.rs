//! Fetching from a hub, with a server on the loopback interface.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use moreline::config::{HubFile, ModelDecl, ModelSource, RowsDecl};
use moreline::digest::Digest;
use moreline::engine::{self, EngineError, Environment, RunOptions, RunSummary, Selection, Silent};

use serde_json::json;

use super::fixture::{Fixture, Runner, stage};

pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server does with the weights.
#[derive(Clone, Copy, PartialEq)]
enum Manners {
    Good,
    /// Every answer ends in the middle of the rest.
    Breaks,
    /// A byte is wrong.
    Lies,
    /// It sends the client to another port for the weights.
    Redirects(u16),
    /// It knows of no such model.
    Refuses,
}

/// A request as the server saw it: first line, and headers in lower case.
#[derive(Clone, Debug)]
struct Request {
    line: String,
    headers: BTreeMap<String, String>,
}

struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

fn weights() -> Vec<u8> {
    (0..300_000u32).flat_map(u32::to_le_bytes).collect()
}

impl Server {
    fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(&stream, manners, &seen);
            }
        });
        Self { port, requests }
    }

    fn requests(&self, part: &str) -> Vec<Request> {
        let requests = self.requests.lock().unwrap();
        let wanted = requests.iter().filter(|r| r.line.contains(part));
        wanted.cloned().collect()
    }
}

fn answer(stream: &TcpStream, manners: Manners, seen: &Mutex<Vec<Request>>) {
    let mut lines = BufReader::new(stream).lines();
    let Some(Ok(line)) = lines.next() else { return };
    let headers: BTreeMap<_, _> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_lowercase(), value.trim().to_owned()))
        })
        .collect();
    let request = Request { line, headers };
    seen.lock().unwrap().push(request.clone());
    let _ = respond(stream, &request, manners);
}

fn respond(mut stream: &TcpStream, request: &Request, manners: Manners) -> std::io::Result<()> {
    let path = request.line.split(' ').nth(1).unwrap_or_default();
    if manners == Manners::Refuses {
        return write!(
            stream,
            "HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
    }
    let body = if path.starts_with("/api/models/org/name/revision/main") {
        listing().into_bytes()
    } else if path.starts_with("/api/datasets/org/set/revision/main") {
        let size = ROWS.len();
        format!(
            r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"train/rows.jsonl","size":{size}}}]}}"#
        )
        .into_bytes()
    } else if path.ends_with("/train/rows.jsonl") {
        ROWS.into()
    } else if path.ends_with("/config.json") {
        b"{}".to_vec()
    } else if let Manners::Redirects(port) = manners {
        let to = format!("http://127.0.0.1:{port}{path}");
        return write!(
            stream,
            "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
    } else {
        let mut bytes = weights();
        if manners == Manners::Lies {
            bytes[77] ^= 1;
        }
        bytes
    };
    let from = request
        .headers
        .get("range")
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let (rest, status) = match from {
        0 => (&body[..], "200 OK"),
        _ => (&body[from..], "206 Partial Content"),
    };
    let sent = match manners {
        Manners::Breaks if rest.len() > 100_000 => &rest[..rest.len() / 2],
        _ => rest,
    };
    let (length, size) = (rest.len(), body.len());
    let range = match from {
        0 => String::new(),
        _ => format!("content-range: bytes {from}-{}/{size}\r\n", size - 1),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{range}content-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    stream.write_all(sent)
}

fn listing() -> String {
    let sum = Digest::of(&weights());
    let size = weights().len();
    format!(
        r#"{{"sha":"{COMMIT}","siblings":[
            {{"rfilename":"README.md","size":9}},
            {{"rfilename":"../evil.json","size":9}},
            {{"rfilename":"onnx/model.json","size":9}},
            {{"rfilename":"config.json","size":2,"blobId":"x"}},
            {{"rfilename":"model.safetensors","size":{size},
              "lfs":{{"sha256":"{sum}","size":{size},"pointerSize":130}}}}]}}"#
    )
}

pub(super) fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    let source = ModelSource::Hub {
        repo: "org/name".into(),
        revision: "main".into(),
    };
    let model = ModelDecl { source };
    fixture.experiment.models.insert("base".into(), model);
    fixture
}

pub(super) fn run(fixture: &Fixture, port: u16, offline: bool) -> Result<RunSummary, EngineError> {
    let options = RunOptions {
        jobs: None,
        selection: Selection {
            only: vec!["gen".into()],
            ..Selection::default()
        },
        fail_fast: false,
        cancel: Arc::clone(&fixture.cancel),
        environment: Environment {
            hf_token: Some("secret".into()),
            hf_endpoint: Some(format!("http://127.0.0.1:{port}")),
            offline,
            ..Environment::default()
        },
        runner: &Runner::default(),
        worker: "/nowhere".into(),
    };
    engine::run(&fixture.experiment, &fixture.site, &options, &Silent)
}

#[test]
fn a_model_is_pinned_fetched_and_kept() {
    let (fixture, server) = (fixture(), Server::start(Manners::Good));
    assert_eq!(
        fixture.why("gen"),
        "depends on hf:org/name@main (to be fetched)"
    );
    assert!(run(&fixture, server.port, false).unwrap().is_complete());
    let lock = fs::read_to_string(fixture.path("toy.moreline-lock")).unwrap();
    assert!(lock.contains(COMMIT) && lock.contains("model.safetensors"));
    assert!(!lock.contains("README.md") && !lock.contains("evil"));
    let dir = fixture.cache().join("hub/org--name").join(COMMIT);
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    assert_eq!(fixture.planned()[2], "gen=cached");
    let before = server.requests("").len();
    assert!(run(&fixture, server.port, true).unwrap().is_complete());
    assert_eq!(server.requests("").len(), before);
    for request in server.requests("") {
        assert_eq!(request.headers["authorization"], "Bearer secret");
    }
}

#[test]
fn a_broken_connection_is_taken_up_again() {
    let (fixture, server) = (fixture(), Server::start(Manners::Breaks));
    assert!(run(&fixture, server.port, false).unwrap().is_complete());
    let requests = server.requests("model.safetensors");
    assert!(requests.len() > 2, "{requests:?}");
    assert!(requests[1].headers["range"].starts_with("bytes="));
    let dir = fixture.cache().join("hub/org--name").join(COMMIT);
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn what_an_earlier_run_left_is_continued_or_replaced() {
    for (left, first) in [(weights()[..500].to_vec(), "500-"), (vec![9; 500], "500-")] {
        let (fixture, server) = (fixture(), Server::start(Manners::Good));
        let dir = fixture.cache().join("hub/org--name").join(COMMIT);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("model.safetensors.part"), left).unwrap();
        assert!(run(&fixture, server.port, false).unwrap().is_complete());
        let requests = server.requests("model.safetensors");
        assert_eq!(requests[0].headers["range"], format!("bytes={first}"));
        assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    }
}

#[test]
fn wrong_bytes_are_refused() {
    let (fixture, server) = (fixture(), Server::start(Manners::Lies));
    let message = run(&fixture, server.port, false).unwrap_err().to_string();
    assert!(message.contains("not what the hub promised"), "{message}");
    assert!(fixture.worked().is_empty());
    let dir = fixture.cache().join("hub/org--name").join(COMMIT);
    assert!(!dir.join("model.safetensors").exists());
}

#[test]
fn a_damaged_file_in_the_cache_is_fetched_again() {
    let (mut fixture, server) = (fixture(), Server::start(Manners::Good));
    run(&fixture, server.port, false).unwrap();
    let dir = fixture.cache().join("hub/org--name").join(COMMIT);
    let file = dir.join("model.safetensors");
    let mut bytes = weights();
    bytes[5] ^= 1;
    fs::write(&file, bytes).unwrap();
    fixture.set("gen", "seed", 5.into());
    assert!(run(&fixture, server.port, false).unwrap().is_complete());
    assert_eq!(fs::read(file).unwrap(), weights());
}

#[test]
fn the_token_stays_with_the_hub() {
    let other = Server::start(Manners::Good);
    let (fixture, server) = (fixture(), Server::start(Manners::Redirects(other.port)));
    assert!(run(&fixture, server.port, false).unwrap().is_complete());
    let redirected = other.requests("model.safetensors");
    assert_eq!(redirected.len(), 1);
    assert!(!redirected[0].headers.contains_key("authorization"));
    let lock = fs::read_to_string(fixture.path("toy.moreline-lock")).unwrap();
    assert!(!lock.contains("secret"));
}

#[test]
fn without_a_network_the_message_says_what_to_do() {
    let fixture = fixture();
    let message = run(&fixture, 1, true).unwrap_err().to_string();
    assert!(message.contains("hf:org/name@main"), "{message}");
    assert!(
        message.contains("name that as the model's `source`"),
        "{message}"
    );
    let message = run(&fixture, 1, false).unwrap_err().to_string();
    assert!(
        message.contains("name that as the model's `source`"),
        "{message}"
    );
}

#[test]
fn an_unknown_model_is_named() {
    let (fixture, server) = (fixture(), Server::start(Manners::Refuses));
    let message = run(&fixture, server.port, false).unwrap_err().to_string();
    assert!(
        message.contains("404") && message.contains("HF_TOKEN"),
        "{message}"
    );
}

const ROWS: &str = "{\"chosen\":\"\\n\\nHuman: a\\n\\nAssistant: b\",\"rejected\":\"\\n\\nHuman: a\\n\\nAssistant: c\"}\n";

/// A stage that imports a file of the hub, which the server knows as
/// `train/rows.jsonl` of `org/set`.
fn importing(sha256: Digest) -> Fixture {
    let mut fixture = Fixture::new();
    let file = HubFile {
        repo: "org/set".into(),
        revision: "main".into(),
        file: "train/rows.jsonl".into(),
    };
    let raw = RowsDecl {
        path: file.to_string().into(),
        sha256: Some(sha256),
        hub: Some(file),
        ..RowsDecl::default()
    };
    fixture.experiment.data.insert("raw".into(), raw);
    let import = stage("gen", json!({"kind": "import", "data": "raw"}));
    fixture.experiment.stages = vec![import];
    fixture
}

#[test]
fn a_file_of_a_data_set_is_fetched_once_and_known_before() {
    let digest = Digest::of(ROWS.as_bytes());
    let (fixture, server) = (importing(digest), Server::start(Manners::Good));
    // Its digest is in the experiment: the key needs no network.
    assert_eq!(fixture.why("gen"), "no result yet");
    assert!(run(&fixture, server.port, false).unwrap().is_complete());
    let file = fixture
        .cache()
        .join(format!("hub/datasets--org--set/{digest}/rows.jsonl"));
    assert_eq!(fs::read_to_string(file).unwrap(), ROWS);
    assert_eq!(server.requests("/datasets/org/set/resolve/").len(), 1);
    assert!(run(&fixture, server.port, true).unwrap().is_complete());
    assert_eq!(server.requests("/datasets/org/set/resolve/").len(), 1);
}

#[test]
fn a_file_of_a_data_set_is_the_one_that_was_meant() {
    let (fixture, server) = (
        importing(Digest::of(b"other")),
        Server::start(Manners::Good),
    );
    let message = run(&fixture, server.port, false).unwrap_err().to_string();
    let found = Digest::of(ROWS.as_bytes());
    assert!(message.contains(&format!("is {found}, not ")), "{message}");
    assert!(!fixture.cache().join("hub").exists() || server.requests("resolve").len() == 1);
    let message = run(&fixture, server.port, true).unwrap_err().to_string();
    assert!(message.contains("name it as the set's `path`"), "{message}");
}

#[test]
fn a_local_file_can_be_held_to_its_digest_too() {
    let mut fixture = Fixture::new();
    let rows = fixture.experiment.data.get_mut("helpful").unwrap();
    rows.sha256 = Some(Digest::of(b"other"));
    let planned = fixture.planned();
    assert_eq!(planned[0], "rm=missing-input");
    assert!(
        fixture.why("rm").contains("as its `sha256` says"),
        "{}",
        fixture.why("rm")
    );
}
