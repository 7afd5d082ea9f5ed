//! From what the engine knows of an experiment to what a report needs.

use std::borrow::Cow;

use crate::engine::{RunSummary, RunView, StageView};
use crate::event::Outcome;
use crate::plan::StageState;
use crate::store::{ActionRecord, Provenance, RecordedInput};

use super::input::{ReportInput, ReportStage, RunFacts, StageStatus};

impl From<&RunView> for ReportInput {
    /// The experiment as its store shows it: what is there counts as cached.
    fn from(view: &RunView) -> Self {
        Self {
            name: view.experiment.clone(),
            title: view
                .title
                .clone()
                .unwrap_or_else(|| view.experiment.clone()),
            smoke: view.smoke,
            run: facts(view),
            stages: view.stages.iter().map(stage).collect(),
        }
    }
}

impl<'a> From<&'a RunView> for Cow<'a, ReportInput> {
    fn from(view: &'a RunView) -> Self {
        Cow::Owned(ReportInput::from(view))
    }
}

impl ReportInput {
    /// The same with what a run just did: which stages it computed, which
    /// failed and why, and how long it took.
    #[must_use]
    pub fn with_run(mut self, run: &RunSummary) -> Self {
        self.run.wall_seconds = Some(run.seconds);
        for done in &run.stages {
            let Some(stage) = self.stages.iter_mut().find(|stage| stage.name == done.name) else {
                continue;
            };
            stage.state = match done.state {
                Outcome::Ran => StageStatus::Ran,
                Outcome::Cached => StageStatus::Cached,
                Outcome::CutOff => StageStatus::CutOff,
                Outcome::Failed => StageStatus::Failed,
                Outcome::Skipped => StageStatus::Skipped,
            };
            stage.error = done.error.as_ref().map(|error| match &error.hint {
                Some(hint) => format!("{} ({hint})", error.message),
                None => error.message.clone(),
            });
        }
        self
    }
}

fn stage(view: &StageView) -> ReportStage {
    let record = view.record.as_ref();
    let done = record.is_some() && view.state == StageState::Cached;
    let digests = record.map(|record| {
        let outputs = record.outputs.iter();
        outputs
            .map(|(name, output)| (name.clone(), output.digest.to_string()))
            .collect()
    });
    ReportStage {
        name: view.name.clone(),
        base: view.base.clone(),
        cell: view.cell.clone(),
        state: if done {
            StageStatus::Cached
        } else {
            StageStatus::Pending
        },
        spec: view.spec.clone(),
        key: view.key.map(|key| key.to_string()),
        metrics: record
            .map(|record| record.metrics.clone())
            .unwrap_or_default(),
        timings: record
            .map(|record| record.provenance.timings.clone())
            .unwrap_or_default(),
        seconds: record.map(|record| record.provenance.seconds),
        outputs: view.outputs.clone(),
        digests: digests.unwrap_or_default(),
        data: record.map(data).unwrap_or_default(),
        fingerprint: record.and_then(|record| record.provenance.fingerprint.clone()),
        error: None,
    }
}

/// The sets a stage read: their bytes and the rows taken of them.
fn data(record: &ActionRecord) -> Vec<(String, String)> {
    let inputs = record.inputs.iter().filter(|input| input.role == "data");
    let rows = |input: &RecordedInput| {
        let limit = input.rows.limit.map_or("end".to_owned(), |l| l.to_string());
        format!("{} {} {limit}", input.digest, input.rows.offset)
    };
    inputs
        .map(|input| (input.name.clone(), rows(input)))
        .collect()
}

/// When the newest result was made, and on which machines.
fn facts(view: &RunView) -> RunFacts {
    let records = || view.stages.iter().filter_map(|stage| stage.record.as_ref());
    // RFC 3339 in UTC sorts by time.
    let newest = records().max_by_key(|record| &record.provenance.finished);
    let mut machine = Vec::new();
    let mut add = |name: &str, value: &dyn Fn(&Provenance) -> Option<String>| {
        let mut values: Vec<_> = records()
            .filter_map(|record| value(&record.provenance))
            .collect();
        values.sort();
        values.dedup();
        if !values.is_empty() {
            machine.push((name.to_owned(), values.join("; ")));
        }
    };
    add("Host", &|provenance| Some(provenance.host.clone()));
    add("Device", &device);
    add("Commit", &commit);
    RunFacts {
        finished: newest.map(|record: &ActionRecord| record.provenance.finished.clone()),
        wall_seconds: None,
        version: env!("CARGO_PKG_VERSION").into(),
        machine,
    }
}

/// `cpu, AVX512, 2 threads`.
fn device(provenance: &Provenance) -> Option<String> {
    let fingerprint = provenance.fingerprint.as_ref()?;
    let (device, instructions) = (&fingerprint.device, &fingerprint.instructions);
    Some(format!(
        "{device}, {instructions}, {} threads",
        fingerprint.threads
    ))
}

/// The commit's first digits, and whether files differed from it.
fn commit(provenance: &Provenance) -> Option<String> {
    let git = provenance.git.as_ref()?;
    let short = git.commit.get(..12).unwrap_or(&git.commit);
    Some(match git.dirty {
        Some(true) => format!("{short} with changes"),
        _ => short.to_owned(),
    })
}
