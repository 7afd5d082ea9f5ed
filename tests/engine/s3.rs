//! A bucket on the loopback interface, in this process: enough of S3's protocol
//! for a cache layer, and ways to misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The bucket's objects by name, and how it behaves.
#[derive(Default)]
pub(crate) struct Bucket {
    pub(crate) objects: Mutex<BTreeMap<String, Vec<u8>>>,
    /// `METHOD NAME` of every request.
    pub(crate) requests: Mutex<Vec<String>>,
    /// `Authorization` headers, each once.
    pub(crate) signatures: Mutex<Vec<String>>,
    /// Requests answered before it goes silent; for ever if 0.
    pub(crate) answers: AtomicUsize,
    /// Writes wait as long as this is set.
    pub(crate) closed: AtomicBool,
    /// Says so instead of answering.
    pub(crate) denies: Mutex<Option<String>>,
}

/// A running server; it ends with the test's process.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) bucket: Arc<Bucket>,
}

struct Request {
    method: String,
    name: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let bucket = Arc::new(Bucket::default());
        let shared = Arc::clone(&bucket);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let bucket = Arc::clone(&shared);
                thread::spawn(move || serve(&stream, &bucket));
            }
        });
        Self { endpoint, bucket }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.bucket
            .objects
            .lock()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    }
}

fn serve(stream: &TcpStream, bucket: &Bucket) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let line = format!("{} {}", request.method, request.name);
        let count = {
            let mut requests = bucket.requests.lock().unwrap();
            requests.push(line);
            requests.len()
        };
        if let Some(signature) = request.headers.get("authorization") {
            bucket.signatures.lock().unwrap().push(signature.clone());
        }
        let most = bucket.answers.load(Ordering::Relaxed);
        if most > 0 && count > most {
            // Silent, but the connection stays: only a time limit ends this.
            thread::sleep(std::time::Duration::from_secs(20));
            return;
        }
        while request.method == "PUT" && bucket.closed.load(Ordering::Relaxed) {
            thread::sleep(std::time::Duration::from_millis(5));
        }
        let denied = bucket.denies.lock().unwrap().clone();
        let (status, headers, body) = match denied {
            Some(message) => ("403 Forbidden", String::new(), message.into_bytes()),
            None => answer(bucket, &request),
        };
        let length = match headers.contains("Content-Length") {
            true => String::new(),
            false => format!("Content-Length: {}\r\n", body.len()),
        };
        let mut stream = stream;
        let head = format!("HTTP/1.1 {status}\r\n{length}{headers}\r\n");
        let silent = request.method == "HEAD";
        if stream.write_all(head.as_bytes()).is_err() || !silent && stream.write_all(&body).is_err()
        {
            return;
        }
    }
}

/// Status, header lines and body.
type Answer = (&'static str, String, Vec<u8>);

fn answer(bucket: &Bucket, request: &Request) -> Answer {
    let mut objects = bucket.objects.lock().unwrap();
    let found = objects.get(&request.name).cloned();
    match (request.method.as_str(), found) {
        ("PUT", Some(_)) if request.headers.contains_key("if-none-match") => {
            ("412 Precondition Failed", String::new(), Vec::new())
        }
        ("PUT", _) => {
            objects.insert(request.name.clone(), request.body.clone());
            ("200 OK", "ETag: \"1\"\r\n".into(), Vec::new())
        }
        (_, None) => ("404 Not Found", String::new(), Vec::new()),
        ("HEAD", Some(bytes)) => {
            let headers = format!("Content-Length: {}\r\n{META}", bytes.len());
            ("200 OK", headers, Vec::new())
        }
        (_, Some(bytes)) => match range(request, bytes.len()) {
            None => ("200 OK", META.into(), bytes),
            Some((start, end)) => {
                let of = format!(
                    "Content-Range: bytes {start}-{}/{}\r\n",
                    end - 1,
                    bytes.len()
                );
                (
                    "206 Partial Content",
                    format!("{of}{META}"),
                    bytes[start..end].to_vec(),
                )
            }
        },
    }
}

const META: &str = "ETag: \"1\"\r\nLast-Modified: Fri, 01 Jan 2027 00:00:00 GMT\r\n";

fn range(request: &Request, size: usize) -> Option<(usize, usize)> {
    let range = request.headers.get("range")?.strip_prefix("bytes=")?;
    let (start, last) = range.split_once('-')?;
    let end = last.parse::<usize>().ok()? + 1;
    Some((start.parse().ok()?, end.min(size)))
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let method = words.next()?.to_owned();
    let name = words.next()?.trim_start_matches('/').to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        name,
        headers,
        body,
    })
}
