//! What calls cost, and where that ends.

use std::cell::RefCell;
use std::sync::atomic::AtomicBool;

use moreline_protocol::event::{Event, Level};

use super::remote::{endpoint, fair, finish, remote_job};
use super::server::{Received, Reply, Server};
use super::*;
use crate::config::Endpoint;
use crate::engine::Finished;
use crate::store::ApiCost;

/// A call of 8 tokens read and 2 written costs 0.02.
fn priced(url: &str, money_limit: Option<f64>) -> Endpoint {
    Endpoint {
        price_in: Some(1000.0),
        price_out: Some(6000.0),
        currency: "EUR".into(),
        money_limit,
        ..endpoint(url)
    }
}

fn counted(request: &Received) -> Reply {
    match fair(request) {
        Reply::Text(text) => Reply::Counted(text),
        other => other,
    }
}

fn judge(job: &Job, endpoint: Endpoint) -> Result<Finished, JudgeError> {
    finish(job, endpoint, &AtomicBool::new(false), &|_| {})
}

fn cost(amount: f64, unpriced_calls: u64) -> ApiCost {
    ApiCost {
        amount,
        currency: "EUR".into(),
        unpriced_calls,
    }
}

fn close(found: &ApiCost, expected: &ApiCost) {
    assert!((found.amount - expected.amount).abs() < 1e-9, "{found}");
    let rest = |cost: &ApiCost| (cost.currency.clone(), cost.unpriced_calls);
    assert_eq!(rest(found), rest(expected));
}

#[test]
fn the_money_limit_stops_and_a_higher_one_goes_on() {
    let server = Server::start(|request, _| counted(request));
    let (dir, job) = remote_job(3);
    let error = judge(&job, priced(&server.url, Some(0.04))).unwrap_err();
    let JudgeError::MoneyLimit {
        done, cost: spent, ..
    } = error
    else {
        panic!("{error}");
    };
    // Calls already under way are still taken.
    assert!((2..=4).contains(&done));
    close(&spent, &cost(0.02 * done as f64, 0));
    let before = server.received().len();
    let again = judge(&job, priced(&server.url, Some(0.04)));
    assert!(matches!(again, Err(JudgeError::MoneyLimit { .. })));
    assert_eq!(server.received().len(), before);
    let example = JudgeError::MoneyLimit {
        cost: cost(0.04, 1),
        limit: 0.04,
        done: 2,
        total: 6,
    };
    insta::assert_snapshot!(shown(&example, dir.path()));
    let finished = judge(&job, priced(&server.url, Some(5.0))).unwrap();
    assert_eq!(server.received().len(), 6);
    // The calls of both runs count, each once.
    close(&finished.cost.unwrap(), &cost(0.12, 0));
    assert_eq!(finished.metrics["tokens"], 60);
}

#[test]
fn what_calls_cost_is_in_no_metric_and_no_output() {
    let server = Server::start(|request, _| counted(request));
    let run = |endpoint: Endpoint| {
        let (_dir, job) = remote_job(2);
        let finished = judge(&job, endpoint).unwrap();
        let output = fs::read(job.output_dir.join(VERDICTS)).unwrap();
        (finished, output)
    };
    let (with, output) = run(priced(&server.url, None));
    let (without, same) = run(endpoint(&server.url));
    assert!(with.cost.is_some() && without.cost.is_none());
    assert_eq!((with.metrics, output), (without.metrics, same));
}

#[test]
fn calls_whose_tokens_are_not_reported_are_named_unpriced() {
    // The total alone does not say what was read and what was written.
    let server = Server::start(|request, before| match before {
        0..2 => fair(request),
        _ => counted(request),
    });
    let (_dir, job) = remote_job(2);
    let said = RefCell::new(Vec::new());
    let listen = |event| {
        if let Event::Log {
            level: Level::Warn,
            message,
        } = event
        {
            said.borrow_mut().push(message);
        }
    };
    let settings = priced(&server.url, Some(9.0));
    let finished = finish(&job, settings, &AtomicBool::new(false), &listen).unwrap();
    close(&finished.cost.unwrap(), &cost(0.04, 2));
    insta::assert_snapshot!(said.into_inner().join("\n"));
}
