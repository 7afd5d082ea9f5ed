//! Buckets as cache layers: what they get to see, and what they may do.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use moreline::config::{CacheLayer, LayerMode};
use moreline::engine;

use super::fixture::{states, wait_for};
use super::layers::{ALL_CACHED, SECRET, environment, files, folder, machine, run};
use super::s3::Server;

fn bucket(server: &Server, mode: LayerMode) -> CacheLayer {
    CacheLayer {
        mode,
        endpoint: Some(server.endpoint.clone()),
        key_id_env: Some("LAYER_ID".into()),
        secret_env: Some("LAYER_SECRET".into()),
        timeout_s: 1.0,
        retries: 0,
        ..CacheLayer::at("s3://team/experiments")
    }
}

#[test]
fn a_bucket_is_a_layer_and_sees_no_secret() {
    let server = Server::start();
    let first = machine(&bucket(&server, LayerMode::ReadWrite));
    let (_, warnings) = run(&first, &[]);
    assert_eq!(warnings, [""; 0]);
    let names = server.names();
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("team/experiments/")),
        "{names:?}"
    );
    let second = machine(&bucket(&server, LayerMode::Read));
    let (summary, warnings) = run(&second, &[]);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(states(&summary), ALL_CACHED);
    let signatures = server.bucket.signatures.lock().unwrap().clone();
    assert!(!signatures.is_empty());
    for signature in signatures {
        assert!(
            signature.starts_with("AWS4-HMAC-SHA256 Credential=someone/"),
            "{signature}"
        );
        assert!(!signature.contains(SECRET));
    }
    for fixture in [&first, &second] {
        let files = files(&fixture.path(""));
        let shows = |path: &&PathBuf| {
            fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(SECRET))
        };
        assert_eq!(files.iter().find(shows), None);
    }
    let shown = format!("{:?}", environment(&first.site.cache_layers));
    assert!(
        shown.contains("LAYER_SECRET") && !shown.contains(SECRET),
        "{shown}"
    );
}

/// Records go last: of every stage that can be found, everything is there.
#[test]
fn objects_are_sent_before_the_record() {
    let server = Server::start();
    run(&machine(&bucket(&server, LayerMode::ReadWrite)), &[]);
    let requests = server.bucket.requests.lock().unwrap().clone();
    let place = |what: &dyn Fn(&String) -> bool| requests.iter().position(what).unwrap();
    let first_record = place(&|r| r.starts_with("PUT") && r.contains("/actions/"));
    let first_object = place(&|r| r.starts_with("PUT") && r.contains("/objects/"));
    assert!(first_object < first_record, "{requests:?}");
}

#[test]
fn a_bucket_that_goes_silent_midway_costs_one_wait() {
    let server = Server::start();
    run(&machine(&bucket(&server, LayerMode::ReadWrite)), &[]);
    let so_far = server.bucket.requests.lock().unwrap().len();
    server.bucket.answers.store(so_far + 2, Ordering::Relaxed);
    let second = machine(&bucket(&server, LayerMode::ReadWrite));
    let (summary, warnings) = run(&second, &[]);
    assert!(summary.is_complete());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("this run goes on without it"),
        "{warnings:?}"
    );
    assert!(second.worked().contains(&"rm".to_owned()));
    let asked = server.bucket.requests.lock().unwrap().len() - so_far;
    assert!(asked <= 4, "{asked}");
    let store = engine::store(&second.experiment, &second.site);
    assert_eq!(store.verify_all().unwrap().damaged, []);
}

#[test]
fn a_bucket_that_refuses_is_a_warning_without_the_secret() {
    let server = Server::start();
    let answer = format!("<Error><Message>no {SECRET}</Message></Error>");
    *server.bucket.denies.lock().unwrap() = Some(answer);
    let (summary, warnings) = run(&machine(&bucket(&server, LayerMode::ReadWrite)), &[]);
    assert!(summary.is_complete());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(!warnings[0].contains(SECRET), "{warnings:?}");
}

#[test]
fn layers_that_cannot_be_opened_are_left_out() {
    let mut fixture = machine(&folder(Path::new("/nowhere/at/all"), LayerMode::Read));
    let server = Server::start();
    fixture.site.cache_layers.push(CacheLayer {
        secret_env: Some("NOT_SET".into()),
        ..bucket(&server, LayerMode::Read)
    });
    let (summary, warnings) = run(&fixture, &[]);
    assert!(summary.is_complete());
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[1].contains("the environment variable `NOT_SET` is not set"),
        "{warnings:?}"
    );
    assert!(server.bucket.requests.lock().unwrap().is_empty());
}

/// Nothing is asked of a bucket with credentials that the settings do not name.
#[test]
fn half_of_the_credentials_is_none() {
    let server = Server::start();
    let name = |name: &str| Some(name.to_owned());
    let whole = bucket(&server, LayerMode::Read);
    let cases = [
        (name("LAYER_ID"), None, None, "`LAYER_ID`"),
        (None, name("LAYER_SECRET"), None, "`LAYER_SECRET`"),
        (None, None, name("LAYER_SECRET"), "`LAYER_SECRET`"),
        (name("LAYER_ID"), name("NOT_SET"), None, "`NOT_SET`"),
        (name("LAYER_ID"), name("LAYER_BLANK"), None, "`LAYER_BLANK`"),
        (name("NOT_SET"), name("LAYER_SECRET"), None, "`NOT_SET`"),
    ];
    for (key_id_env, secret_env, token_env, named) in cases {
        let layer = CacheLayer {
            key_id_env,
            secret_env,
            token_env,
            ..whole.clone()
        };
        let (summary, warnings) = run(&machine(&layer), &[]);
        assert!(summary.is_complete());
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(named), "{warnings:?}");
        assert!(!warnings[0].contains(SECRET), "{warnings:?}");
    }
    assert!(server.bucket.requests.lock().unwrap().is_empty());
}

/// While the bucket answers nothing, all stages are computed, one after the other
/// on one device; once it answers, it is given everything, and the run ends.
#[test]
fn stages_go_on_while_results_are_being_sent() {
    let server = Server::start();
    server.bucket.closed.store(true, Ordering::Relaxed);
    let fixture = machine(&CacheLayer {
        timeout_s: 60.0,
        ..bucket(&server, LayerMode::ReadWrite)
    });
    std::thread::scope(|scope| {
        let run = scope.spawn(|| run(&fixture, &[]));
        wait_for(&fixture.path("outputs/toy/best/stage.json"));
        assert!(!run.is_finished());
        assert_eq!(server.names(), [""; 0]);
        server.bucket.closed.store(false, Ordering::Relaxed);
        let (summary, warnings) = run.join().unwrap();
        assert!(summary.is_complete());
        assert_eq!(warnings, [""; 0]);
    });
    let names = server.names();
    let records = names.iter().filter(|name| name.contains("/actions/"));
    assert_eq!(records.count(), 5, "{names:?}");
}
