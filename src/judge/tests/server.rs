//! A small HTTP server on the loopback interface, in this process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// What the server received.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Value,
}

impl Received {
    /// What the judge was shown.
    pub(crate) fn shown(&self) -> &str {
        self.body["messages"][1]["content"].as_str().unwrap()
    }
}

/// What the server answers.
pub(crate) enum Reply {
    /// A chat completion of this text, costing 10 tokens.
    Text(String),
    /// The same; of the tokens 8 are the prompt's.
    Counted(String),
    /// Any status, further header lines, and body.
    Raw(u16, &'static str, String),
    /// Nothing for so long.
    Hang(Duration),
}

/// A running server; it stops answering when the test's process ends.
pub(crate) struct Server {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    /// Answers every request with what `answer` makes of it and of the number
    /// of requests before it.
    pub(crate) fn start(
        answer: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&received), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &log, &*answer));
            }
        });
        Self { url, received }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Received>>,
    answer: &(impl Fn(&Received, usize) -> Reply + ?Sized),
) {
    let Some(request) = read_request(&stream) else {
        return;
    };
    let before = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        log.len() - 1
    };
    let completion = |text: String, usage: Value| {
        let choice = json!({"message": {"role": "assistant", "content": text}});
        (
            200,
            "",
            json!({"choices": [choice], "usage": usage}).to_string(),
        )
    };
    let (status, headers, body) = match answer(&request, before) {
        Reply::Text(text) => completion(text, json!({"total_tokens": 10})),
        Reply::Counted(text) => {
            completion(text, json!({"prompt_tokens": 8, "completion_tokens": 2}))
        }
        Reply::Raw(status, headers, body) => (status, headers, body),
        Reply::Hang(time) => return thread::sleep(time),
    };
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    );
}

fn read_request(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).ok()?;
    Some(Received {
        path,
        authorization,
        body,
    })
}
