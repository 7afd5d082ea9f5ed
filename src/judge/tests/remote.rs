use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moreline_protocol::event::Event;
use moreline_protocol::rows::Verdict;

use super::server::{Received, Reply, Server};
use super::*;
use crate::config::{Endpoint, Site};
use crate::engine::Finished;

const KEY: &str = "sk-very-secret";

/// `count` prompts; side A answers `good`, side B `bad`.
fn write_sides(job: &Job, count: u64) {
    for (input, text) in job.inputs.iter().zip(["good", "bad"]) {
        write_side(input, 0..count, text);
    }
}

fn write_side(input: &Input, ids: impl Iterator<Item = u64>, text: &str) {
    let rows = ids.map(|id| {
        let row = json!({"id": id, "prompt": [{"role": "user", "content": format!("question {id}")}], "responses": [{"text": text}]});
        format!("{row}\n")
    });
    fs::write(&input.path, rows.collect::<String>()).unwrap();
}

pub(super) fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: url.into(),
        key_env: Some("JUDGE_KEY".into()),
        concurrency: 1,
        timeout_s: 5.0,
        retries: 2,
        token_limit: None,
        price_in: None,
        price_out: None,
        currency: "USD".into(),
        money_limit: None,
    }
}

pub(super) fn remote_job(count: u64) -> (TempDir, Job) {
    let (dir, job) =
        job(json!({"endpoint": "judge", "judge_model": "big", "criterion": "which is kinder"}));
    write_sides(&job, count);
    (dir, job)
}

fn key(name: &str) -> Option<String> {
    (name == "JUDGE_KEY").then(|| format!("{KEY}\n"))
}

fn run(job: &Job, endpoint: Endpoint) -> Result<Metrics, JudgeError> {
    run_watched(job, endpoint, &AtomicBool::new(false), &|_| {})
}

fn run_watched(
    job: &Job,
    endpoint: Endpoint,
    cancel: &AtomicBool,
    progress: &dyn Fn(Event),
) -> Result<Metrics, JudgeError> {
    finish(job, endpoint, cancel, progress).map(|finished| finished.metrics)
}

pub(super) fn finish(
    job: &Job,
    endpoint: Endpoint,
    cancel: &AtomicBool,
    progress: &dyn Fn(Event),
) -> Result<Finished, JudgeError> {
    let site = Site {
        endpoint: BTreeMap::from([("judge".into(), endpoint)]),
        ..Site::default()
    };
    let remote = Remote::new(judge_of(job), &site, &key)?.with_backoff(Duration::from_millis(1));
    judge_remote(job, &remote, cancel, progress)
}

/// A judge that looks at the texts: for the good one, wherever it stands.
pub(super) fn fair(request: &Received) -> Reply {
    let letter = if request.shown().contains("<response_a>\ngood") {
        "A"
    } else {
        "B"
    };
    Reply::Text(format!("It is kinder.\n[[{letter}]]"))
}

/// Nothing on disk or in a message may hold the key.
fn assert_no_key(dir: &Path, error: Option<&JudgeError>) {
    for folder in ["out", "partial"] {
        for entry in fs::read_dir(dir.join(folder)).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!text.contains(KEY));
        }
    }
    if let Some(error) = error {
        assert!(!format!("{error} {error:?} {:?}", error.hint()).contains(KEY));
    }
}

#[test]
fn both_orders_are_asked_and_agree() {
    let server = Server::start(|request, _| fair(request));
    let (dir, job) = remote_job(3);
    let events = RefCell::new(Vec::new());
    let mut settings = endpoint(&server.url);
    settings.concurrency = 4;
    let never = AtomicBool::new(false);
    let metrics = run_watched(&job, settings, &never, &|event| {
        events.borrow_mut().push(event)
    })
    .unwrap();
    let rows = verdicts(&job);
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [0, 1, 2]);
    for row in &rows {
        assert_eq!(
            (row.verdict, row.orders),
            (Verdict::Win, Some([Verdict::Win; 2]))
        );
        assert_eq!(
            row.replies,
            ["It is kinder.\n[[A]]", "It is kinder.\n[[B]]"]
        );
    }
    assert_eq!(
        (&metrics["win"], &metrics["calls"], &metrics["tokens"]),
        (&json!(3), &json!(6), &json!(60))
    );
    assert_eq!(
        (
            number(&metrics, "win_rate"),
            number(&metrics, "position_bias")
        ),
        (1.0, 0.0)
    );
    let received = server.received();
    assert_eq!(received.len(), 6);
    for request in &received {
        assert_eq!(request.path, "/v1/chat/completions");
        assert_eq!(
            request.authorization.as_deref(),
            Some(&*format!("Bearer {KEY}"))
        );
        assert_eq!(
            (&request.body["model"], &request.body["temperature"]),
            (&json!("big"), &json!(0))
        );
        let system = request.body["messages"][0]["content"].as_str().unwrap();
        assert!(system.contains("which is kinder"));
    }
    let last = events.borrow().iter().rev().find_map(|event| match event {
        Event::Progress { done, total, .. } => Some((*done, *total)),
        _ => None,
    });
    assert_eq!(last, Some((6, 6)));
    assert_no_key(dir.path(), None);
}

#[test]
fn a_judge_that_prefers_a_position_gives_ties() {
    let server = Server::start(|_, _| Reply::Text("[[A]]".into()));
    let (_dir, job) = remote_job(2);
    let metrics = run(&job, endpoint(&server.url)).unwrap();
    assert_eq!(
        (&metrics["tie"], number(&metrics, "position_bias")),
        (&json!(2), 1.0)
    );
    assert_eq!(
        verdicts(&job)[0].orders,
        Some([Verdict::Win, Verdict::Loss])
    );
}

#[test]
fn unreadable_verdicts_are_counted_apart_and_kept() {
    let server = Server::start(|request, _| {
        if request.shown().contains("question 1") {
            Reply::Text("I cannot decide.".into())
        } else {
            fair(request)
        }
    });
    let (_dir, job) = remote_job(2);
    let events = RefCell::new(Vec::new());
    let never = AtomicBool::new(false);
    let metrics = run_watched(&job, endpoint(&server.url), &never, &|event| {
        events.borrow_mut().push(event);
    });
    let metrics = metrics.unwrap();
    assert_eq!(
        (
            &metrics["unparsed"],
            &metrics["win"],
            number(&metrics, "win_rate")
        ),
        (&json!(1), &json!(1), 1.0)
    );
    let rows = verdicts(&job);
    assert_eq!(
        (rows[1].verdict, &*rows[1].replies[0]),
        (Verdict::Unparsed, "I cannot decide.")
    );
    let warned = |event: &Event| matches!(event, Event::Log { message, .. } if message.contains("1 of 2 prompts"));
    assert!(events.borrow().iter().any(warned));
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    // The server's wait (one second) is far longer than the judge's own.
    let server = Server::start(|request, before| match before {
        0 => Reply::Raw(429, "Retry-After: 1\r\n", "busy".into()),
        1 => Reply::Raw(500, "", "oops".into()),
        _ => fair(request),
    });
    let (_dir, job) = remote_job(1);
    let start = std::time::Instant::now();
    let metrics = run(&job, endpoint(&server.url)).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!((server.received().len(), &metrics["win"]), (4, &json!(1)));
}

#[test]
fn what_an_endpoint_can_do_wrong() {
    // What it does, its answers, and the calls it takes to give up.
    type Case = (&'static str, fn(&Received, usize) -> Reply, usize);
    let cases: [Case; 8] = [
        (
            "always 503",
            |_, _| Reply::Raw(503, "", "down for <b>maintenance</b>".into()),
            3,
        ),
        (
            "wrong key",
            |r, _| Reply::Raw(401, "", format!("bad {}", r.authorization.clone().unwrap())),
            1,
        ),
        (
            "no such model",
            |_, _| Reply::Raw(404, "", "{\"error\": \"model big not found\"}".into()),
            1,
        ),
        (
            "too long",
            |_, _| Reply::Raw(400, "", "context length exceeded".into()),
            1,
        ),
        (
            "garbage",
            |_, _| Reply::Raw(200, "", "<html>hello</html>".into()),
            3,
        ),
        (
            "another form",
            |_, _| Reply::Raw(200, "", "{\"choices\": []}".into()),
            3,
        ),
        (
            "a long wait",
            |_, _| Reply::Raw(429, "Retry-After: 7200\r\n", "quota".into()),
            1,
        ),
        (
            "a redirect",
            |_, _| {
                Reply::Raw(
                    307,
                    "Location: http://elsewhere.invalid/v1\r\n",
                    String::new(),
                )
            },
            1,
        ),
    ];
    let messages = cases.map(|(name, answer, calls)| {
        let server = Server::start(answer);
        let (dir, job) = remote_job(1);
        let error = run(&job, endpoint(&server.url)).unwrap_err();
        assert_eq!(server.received().len(), calls, "{name}");
        assert_no_key(dir.path(), Some(&error));
        format!("{name}\n{}", shown(&error, dir.path())).replace(&server.url, "URL")
    });
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn a_server_that_hangs_is_given_up_on() {
    let server = Server::start(|_, _| Reply::Hang(Duration::from_secs(20)));
    let (dir, job) = remote_job(1);
    let mut settings = endpoint(&server.url);
    (settings.timeout_s, settings.retries) = (0.2, 1);
    let error = run(&job, settings).unwrap_err();
    assert_eq!(server.received().len(), 2);
    insta::assert_snapshot!(shown(&error, dir.path()).replace(&server.url, "URL"));
}

#[test]
fn a_closed_port_is_no_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let (dir, job) = remote_job(1);
    let error = run(&job, endpoint(&url)).unwrap_err();
    insta::assert_snapshot!(shown(&error, dir.path()).replace(&url, "URL"));
}

#[test]
fn a_stopped_judge_goes_on_where_it_was() {
    let (dir, job) = remote_job(4);
    let server = Server::start(|request, _| fair(request));
    let cancel = AtomicBool::new(false);
    let stop_at_three = |event| {
        if matches!(event, Event::Progress { done: 3.., .. }) {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let error = run_watched(&job, endpoint(&server.url), &cancel, &stop_at_three).unwrap_err();
    let JudgeError::Stopped { done, total: 8 } = error else {
        panic!("{error}");
    };
    assert!((3..=5).contains(&done) && !job.output_dir.join(VERDICTS).exists());
    // A kill tears the line being written: that call alone is made again.
    let journal = dir.path().join("partial/judge-calls.jsonl");
    let whole = fs::read(&journal).unwrap();
    fs::write(&journal, &whole[..whole.len() - 5]).unwrap();
    let before = server.received().len();
    let metrics = run(&job, endpoint(&server.url)).unwrap();
    assert_eq!(server.received().len() - before, 8 - (done - 1));
    assert_eq!(
        (&metrics["win"], &metrics["tokens"]),
        (&json!(4), &json!(80))
    );
    // The figures are those of a run that was never stopped.
    let (_dir, uninterrupted) = remote_job(4);
    assert_eq!(run(&uninterrupted, endpoint(&server.url)).unwrap(), metrics);
    assert_eq!(verdicts(&uninterrupted), verdicts(&job));
}

#[test]
fn a_failure_keeps_what_was_done() {
    let server = Server::start(|request, before| match before {
        3 => Reply::Raw(400, "", "no".into()),
        _ => fair(request),
    });
    let (_dir, job) = remote_job(3);
    assert!(matches!(
        run(&job, endpoint(&server.url)),
        Err(JudgeError::Endpoint { id: 1, .. })
    ));
    assert_eq!(server.received().len(), 4);
    run(&job, endpoint(&server.url)).unwrap();
    assert_eq!(server.received().len(), 4 + 3);
}

#[test]
fn the_token_limit_stops_and_a_higher_one_goes_on() {
    let server = Server::start(|request, _| fair(request));
    let (dir, job) = remote_job(3);
    let limited = |limit| Endpoint {
        token_limit: Some(limit),
        ..endpoint(&server.url)
    };
    let error = run(&job, limited(20)).unwrap_err();
    let JudgeError::TokenLimit { done, spent, .. } = error else {
        panic!("{error}");
    };
    // Calls already under way are still taken.
    assert!((2..=4).contains(&done) && spent == 10 * done as u64);
    let before = server.received().len();
    assert!(matches!(
        run(&job, limited(20)),
        Err(JudgeError::TokenLimit { .. })
    ));
    assert_eq!(server.received().len(), before);
    let example = JudgeError::TokenLimit {
        spent: 20,
        limit: 20,
        done: 2,
        total: 6,
    };
    insta::assert_snapshot!(shown(&example, dir.path()));
    run(&job, limited(1000)).unwrap();
    assert_eq!(server.received().len() as u64, 6);
}

#[test]
fn answers_to_other_questions_are_not_used() {
    let server = Server::start(|request, _| fair(request));
    let (_dir, job) = remote_job(1);
    run(&job, endpoint(&server.url)).unwrap();
    fs::remove_file(job.output_dir.join(VERDICTS)).unwrap();
    write_side(&job.inputs[0], 0..1, "good, and new");
    run(&job, endpoint(&server.url)).unwrap();
    assert_eq!(server.received().len(), 4);
}

#[test]
fn sides_and_settings_that_do_not_fit_are_refused() {
    let mut messages = Vec::new();
    let mut refused = |job: &Job, dir: &Path, endpoint: Endpoint| {
        messages.push(shown(&run(job, endpoint).unwrap_err(), dir));
    };
    let nowhere = || endpoint("http://127.0.0.1:9/v1");
    let (dir, job_a) = remote_job(2);
    write_side(&job_a.inputs[1], 1..15, "bad");
    refused(&job_a, dir.path(), nowhere());
    write_side(&job_a.inputs[1], 0..15, "bad");
    refused(&job_a, dir.path(), nowhere());
    let text = fs::read_to_string(&job_a.inputs[0].path).unwrap();
    fs::write(&job_a.inputs[1].path, text.replace("question 1", "another")).unwrap();
    refused(&job_a, dir.path(), nowhere());
    let mut bad = nowhere();
    bad.key_env = Some("OTHER_KEY".into());
    refused(&job_a, dir.path(), bad);
    refused(&job_a, dir.path(), endpoint("localhost:8080"));
    let (dir, nameless) = job(json!({"endpoint": "judge"}));
    refused(&nameless, dir.path(), nowhere());
    let (dir, unknown) = job(json!({"endpoint": "other", "judge_model": "big"}));
    refused(&unknown, dir.path(), nowhere());
    insta::assert_snapshot!(messages.join("\n\n"));
}
