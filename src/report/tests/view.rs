//! What a report takes from the engine's view of an experiment.

use std::collections::BTreeMap;

use moreline_protocol::spec::StageSpec;
use serde_json::json;

use super::super::input::{ReportInput, StageStatus};
use crate::digest::Digest;
use crate::engine::{RunSummary, RunView, StageFailure, StageSummary, StageView};
use crate::event::Outcome;
use crate::plan::{StageKey, StageState};
use crate::store::ActionRecord;

/// One stage with a record and one without.
fn view() -> RunView {
    let key = StageKey(Digest::of(b"key"));
    let record: ActionRecord = serde_json::from_value(json!({
        "format": 1, "key": key, "stage": "ppl", "kind": "perplexity", "version": 1,
        "spec": {}, "inputs": [],
        "outputs": {"records.jsonl": {"form": "file", "digest": Digest::of(b"rows"), "bytes": 4}},
        "metrics": {"perplexity": 12.5},
        "provenance": {
            "moreline": "0.1.0", "run": "r", "experiment": "e.toml",
            "git": {"commit": "0123456789abcdef", "dirty": true}, "host": "box",
            "resources": null, "fingerprint": null, "seed": null,
            "started": "2026-11-23T08:00:00Z", "finished": "2026-11-23T08:03:00Z",
            "seconds": 2.5, "timings": {"work_s": 2.0},
        },
    }))
    .unwrap();
    let spec: StageSpec =
        serde_json::from_value(json!({"kind": "perplexity", "model": "m", "data": "d"})).unwrap();
    let stage = |name: &str, state, record: Option<ActionRecord>| StageView {
        name: name.into(),
        base: name.into(),
        cell: Vec::new(),
        kind: spec.kind(),
        spec: spec.clone(),
        state,
        key: record.as_ref().map(|_| key),
        record,
        outputs: BTreeMap::new(),
    };
    let run = StageState::Run {
        reason: "new".into(),
    };
    RunView {
        experiment: "e".into(),
        title: None,
        path: "e.toml".into(),
        smoke: false,
        stages: vec![
            stage("ppl", StageState::Cached, Some(record)),
            stage("open", run, None),
        ],
    }
}

#[test]
fn a_record_gives_results_and_facts() {
    let input = ReportInput::from(&view());
    assert_eq!(input.title, "e", "the name stands in for a title");
    assert_eq!(input.run.finished.as_deref(), Some("2026-11-23T08:03:00Z"));
    let machine = [("Host", "box"), ("Commit", "0123456789ab with changes")];
    assert_eq!(
        input.run.machine,
        machine.map(|(name, value)| (name.into(), value.into()))
    );
    let [done, open] = &input.stages[..] else {
        panic!("two stages")
    };
    assert_eq!(done.state, StageStatus::Cached);
    assert_eq!(done.number(&["perplexity"]), Some(12.5));
    assert_eq!(done.seconds, Some(2.5));
    assert_eq!(
        done.digests["records.jsonl"],
        Digest::of(b"rows").to_string()
    );
    assert_eq!(open.state, StageStatus::Pending);
    assert!(open.metrics.is_empty() && open.seconds.is_none());
}

#[test]
fn a_run_tells_what_it_did() {
    let summary = |name: &str, state, error| StageSummary {
        name: name.into(),
        kind: moreline_protocol::spec::StageKind::Perplexity,
        state,
        key: None,
        seconds: 0.0,
        metrics: None,
        cost: None,
        error,
    };
    let failure = StageFailure::new("out of memory").with_hint("use less");
    let run = RunSummary {
        run_id: "r".into(),
        experiment: "e".into(),
        stopped: false,
        seconds: 9.0,
        stages: vec![
            summary("ppl", Outcome::Ran, None),
            summary("open", Outcome::Failed, Some(failure)),
        ],
    };
    let input = ReportInput::from(&view()).with_run(&run);
    assert_eq!(input.run.wall_seconds, Some(9.0));
    assert_eq!(input.stages[0].state, StageStatus::Ran);
    assert_eq!(input.stages[1].state, StageStatus::Failed);
    assert_eq!(
        input.stages[1].error.as_deref(),
        Some("out of memory (use less)")
    );
}
