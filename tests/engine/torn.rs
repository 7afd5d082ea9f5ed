//! Downloads that are torn, of a file whose digest the hub does not tell.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use moreline::digest::Digest;

use super::fixture::Fixture;
use super::hub::{COMMIT, fixture, run};

const SIZE: usize = 5000;
const HALF: usize = SIZE / 2;

/// What the server says to one request for the file.
struct Answer {
    /// What stands before the length, after the version.
    head: String,
    body: Vec<u8>,
    /// How much of the body is sent.
    sent: usize,
}

/// The file, of some version: all of one letter.
fn version(letter: u8) -> Vec<u8> {
    vec![letter; SIZE]
}

fn whole(letter: u8, etag: &str, sent: usize) -> Answer {
    Answer {
        head: format!("200 OK\r\netag: \"{etag}\"\r\n"),
        body: version(letter),
        sent,
    }
}

fn part(letter: u8, etag: &str, from: usize) -> Answer {
    let last = SIZE - 1;
    Answer {
        head: format!(
            "206 Partial\r\netag: \"{etag}\"\r\ncontent-range: bytes {from}-{last}/{SIZE}\r\n"
        ),
        body: version(letter)[from..].to_vec(),
        sent: SIZE - from,
    }
}

/// A server that answers the requests for the file in turn, the last answer for
/// all that follow.
struct Server {
    port: u16,
    /// The headers of the requests for the file, in lower case.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(&stream, &answers, &log);
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(
    mut stream: &TcpStream,
    answers: &[Answer],
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = lines[0].split(' ').nth(1).unwrap_or_default();
    let plain = |body: Vec<u8>| Answer {
        head: "200 OK\r\n".into(),
        sent: body.len(),
        body,
    };
    let other;
    let answer = if path.ends_with("/config.json") {
        let mut log = log.lock().unwrap();
        log.push(lines[1..].join("\n").to_lowercase());
        &answers[log.len().min(answers.len()) - 1]
    } else if path.ends_with("/model.safetensors") {
        other = plain(b"weights".to_vec());
        &other
    } else {
        other = plain(listing().into_bytes());
        &other
    };
    write!(
        stream,
        "HTTP/1.1 {}content-length: {}\r\nconnection: close\r\n\r\n",
        answer.head,
        answer.body.len()
    )?;
    stream.write_all(&answer.body[..answer.sent])
}

fn listing() -> String {
    let sum = Digest::of(b"weights");
    format!(
        r#"{{"sha":"{COMMIT}","siblings":[
            {{"rfilename":"config.json","size":{SIZE}}},
            {{"rfilename":"model.safetensors","size":7,
              "lfs":{{"sha256":"{sum}","size":7,"pointerSize":130}}}}]}}"#
    )
}

fn file(fixture: &Fixture) -> PathBuf {
    let dir = fixture.cache().join("hub/org--name").join(COMMIT);
    dir.join("config.json")
}

/// What is kept after these answers, and what the hub was asked.
fn fetched(answers: Vec<Answer>) -> (Vec<u8>, Vec<String>) {
    let (fixture, server) = (fixture(), Server::start(answers));
    assert!(run(&fixture, server.port, false).unwrap().is_complete());
    (fs::read(file(&fixture)).unwrap(), server.asked())
}

#[test]
fn what_breaks_off_is_continued_in_the_same_version() {
    let (kept, asked) = fetched(vec![whole(b'a', "1", HALF), part(b'a', "1", HALF)]);
    assert!(kept == version(b'a'));
    assert_eq!(asked.len(), 2);
    assert!(
        asked[1].contains(&format!("range: bytes={HALF}-")),
        "{asked:?}"
    );
    assert!(asked[1].contains("if-range: \"1\""), "{asked:?}");
}

#[test]
fn parts_of_two_versions_are_never_put_together() {
    // The second answer minds neither `If-Range` nor its own `ETag`.
    let second = || vec![part(b'b', "2", HALF), whole(b'b', "2", SIZE)];
    let first = vec![whole(b'a', "1", HALF)];
    let (kept, asked) = fetched(first.into_iter().chain(second()).collect());
    assert!(kept == version(b'b'));
    assert_eq!(asked.len(), 3);
    // A weak `ETag` says nothing of bytes.
    let mut weak = [whole(b'a', "1", HALF), part(b'b', "1", HALF)];
    for answer in &mut weak {
        answer.head = answer.head.replace("etag: ", "etag: W/");
    }
    let last = whole(b'b', "1", SIZE);
    let (kept, _) = fetched(weak.into_iter().chain([last]).collect());
    assert!(kept == version(b'b'));
}

#[test]
fn another_range_than_the_one_asked_for_is_not_taken() {
    for from in [0, HALF - 1, HALF + 1] {
        let (first, last) = (whole(b'a', "1", HALF), whole(b'a', "1", SIZE));
        let mut wrong = part(b'a', "1", from);
        // Were it taken, the size would be right.
        wrong.body = vec![b'x'; SIZE - HALF];
        wrong.sent = wrong.body.len();
        let (kept, asked) = fetched(vec![first, wrong, last]);
        assert!(kept == version(b'a'), "{from}");
        assert_eq!(asked.len(), 3, "{from}");
    }
}

#[test]
fn what_an_earlier_process_left_is_not_taken_on_trust() {
    for left in [HALF, SIZE] {
        let (fixture, server) = (fixture(), Server::start(vec![whole(b'a', "1", SIZE)]));
        let part = file(&fixture).with_extension("json.part");
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        fs::write(&part, vec![0; left]).unwrap();
        assert!(run(&fixture, server.port, false).unwrap().is_complete());
        assert!(fs::read(file(&fixture)).unwrap() == version(b'a'));
        assert!(!server.asked()[0].contains("range:") && !part.exists());
    }
}

#[test]
fn a_hub_that_always_closes_early_is_given_up_on() {
    let mut torn = whole(b'a', "1", HALF);
    torn.head = "200 OK\r\n".into();
    let (fixture, server) = (fixture(), Server::start(vec![torn]));
    let message = run(&fixture, server.port, false).unwrap_err().to_string();
    assert!(message.contains("config.json broke off"), "{message}");
    assert!(!file(&fixture).exists());
}
