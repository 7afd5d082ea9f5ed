//! An experiment in a temporary directory, and the ways to run it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use moreline::config::{Experiment, ModelDecl, ModelSource, RowsDecl, Site, StageDecl};
use moreline::engine::{
    self, EngineError, Environment, Finished, KnownInputs, Observer, RunOptions, RunSummary,
    Selection, StageFailure, StageRunner,
};
use moreline::event::{Outcome, RunEvent};
use moreline::store::{Collected, Policy, StoreError};
use moreline_protocol::artifact::outputs;
use moreline_protocol::event::{Event, Metrics};
use moreline_protocol::job::Job;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An experiment, its files, its cache and its worker.
pub(crate) struct Fixture {
    root: PathBuf,
    _dir: Option<TempDir>,
    pub(crate) experiment: Experiment,
    pub(crate) site: Site,
    pub(crate) cancel: Arc<AtomicBool>,
}

/// Runs `select` by copying, and finds the problems it is told to find.
#[derive(Default)]
pub(crate) struct Runner {
    pub(crate) problems: Vec<StageFailure>,
}

impl StageRunner for Runner {
    fn run_in_engine(
        &self,
        job: &Job,
        _: &AtomicBool,
        _: &dyn Fn(Event),
    ) -> Result<Finished, StageFailure> {
        let input = fs::read(&job.inputs[0].path).map_err(|e| StageFailure::new(e.to_string()))?;
        fs::write(job.output_dir.join(outputs(&job.spec)[0].name), input)
            .map_err(|e| StageFailure::new(e.to_string()))?;
        Ok(Finished::default())
    }

    fn after_worker(&self, _: &Job) -> Result<Option<Metrics>, StageFailure> {
        Ok(None)
    }

    fn check_inputs(&self, _: &Experiment, _: &dyn KnownInputs) -> Vec<StageFailure> {
        self.problems.clone()
    }
}

/// Keeps every event.
#[derive(Default)]
pub(crate) struct Recorder(pub(crate) Mutex<Vec<RunEvent>>);

impl Observer for Recorder {
    fn event(&self, event: &RunEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Recorder {
    /// The stages that were at work at once, as often as that changed: those that
    /// began, less those that were over by then.
    pub(crate) fn at_work(&self) -> Vec<Vec<String>> {
        let (mut now, mut all) = (Vec::new(), Vec::new());
        for event in self.0.lock().unwrap().iter() {
            match event {
                RunEvent::StageStarted { stage, .. } => now.push(stage.clone()),
                RunEvent::StageFinished { stage, .. } | RunEvent::StageFailed { stage, .. } => {
                    now.retain(|other| other != stage);
                }
                _ => continue,
            }
            all.push(now.clone());
        }
        all
    }
}

pub(crate) fn stage(name: &str, spec: Value) -> StageDecl {
    StageDecl {
        name: name.into(),
        base: name.split(':').next().unwrap().into(),
        cell: Vec::new(),
        spec: serde_json::from_value(spec).unwrap(),
    }
}

/// The files an experiment needs, and its worker.
fn write_files(root: &Path) {
    for (name, text) in [
        ("helpful.jsonl", "{\"text\":[\"a\",\"b\"]}\n"),
        ("prompts.jsonl", "{\"prompt\":\"x\"}\n"),
        ("model.gguf", "GGUF"),
    ] {
        fs::write(root.join(name), text).unwrap();
    }
    let control = root.join("control");
    fs::create_dir(&control).unwrap();
    let worker = root.join("worker.sh");
    let script = include_str!("worker.sh").replace("@CONTROL@", control.to_str().unwrap());
    fs::write(&worker, script).unwrap();
    fs::set_permissions(&worker, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Fixture {
    /// `rm` is trained on `helpful` and scores what `gen` sampled; `best`
    /// chooses among that; `eval` looks at `rm`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path());
        let mut fixture = Self::open(dir.path());
        fixture._dir = Some(dir);
        fixture
    }

    /// The same in a directory that has its files already.
    pub(crate) fn open(root: &Path) -> Self {
        let root = root.to_owned();
        let rows = |name: &str| RowsDecl {
            path: root.join(name),
            ..RowsDecl::default()
        };
        let source = ModelSource::Path(root.join("model.gguf"));
        let experiment = Experiment {
            path: root.join("toy.toml"),
            name: "toy".into(),
            title: None,
            models: BTreeMap::from([("base".into(), ModelDecl { source })]),
            data: BTreeMap::from([("helpful".into(), rows("helpful.jsonl"))]),
            prompts: BTreeMap::from([("questions".into(), rows("prompts.jsonl"))]),
            responses: BTreeMap::new(),
            stages: vec![
                stage(
                    "rm",
                    json!({"kind": "train-reward", "model": "base", "data": "helpful"}),
                ),
                stage(
                    "eval",
                    json!({"kind": "evaluate-reward", "model": "rm", "data": "helpful"}),
                ),
                stage(
                    "gen",
                    json!({"kind": "generate", "model": "base", "prompts": "questions"}),
                ),
                stage(
                    "scored",
                    json!({"kind": "score", "model": "rm", "responses": "gen"}),
                ),
                stage("best", json!({"kind": "select", "responses": "scored"})),
            ],
            smoke: false,
        };
        let launcher = root.join("launch.sh");
        let named = || vec![launcher.display().to_string()];
        let site = Site {
            cache: Some(root.join("cache")),
            worker: Some(root.join("worker.sh")),
            // A test may have put one there.
            launcher: launcher.exists().then(named),
            ..Site::default()
        };
        Self {
            root,
            _dir: None,
            experiment,
            site,
            cancel: Arc::default(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// Makes the worker misbehave: `fail.rm`, `hang.gen`, ...
    pub(crate) fn order(&self, action: &str) {
        fs::write(self.path("control").join(action), "").unwrap();
    }

    /// The same with something to say: `meet.rm` and `gen`.
    pub(crate) fn tell(&self, action: &str, what: &str) {
        fs::write(self.path("control").join(action), what).unwrap();
    }

    pub(crate) fn revoke(&self, action: &str) {
        fs::remove_file(self.path("control").join(action)).unwrap();
    }

    /// Stages the worker was started for, in order, since last asked.
    pub(crate) fn worked(&self) -> Vec<String> {
        let trace = self.path("control").join("trace");
        let text = fs::read_to_string(&trace).unwrap_or_default();
        let _ = fs::remove_file(trace);
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn try_run(
        &self,
        only: &[&str],
        runner: &Runner,
        observer: &dyn Observer,
    ) -> Result<RunSummary, EngineError> {
        let options = RunOptions {
            jobs: None,
            selection: Selection {
                only: only.iter().map(|name| (*name).to_owned()).collect(),
                ..Selection::default()
            },
            fail_fast: false,
            cancel: Arc::clone(&self.cancel),
            environment: Environment::default(),
            runner,
            worker: PathBuf::from("/nowhere"),
        };
        engine::run(&self.experiment, &self.site, &options, observer)
    }

    pub(crate) fn run(&self) -> RunSummary {
        self.try_run(&[], &Runner::default(), &engine::Silent)
            .unwrap()
    }

    /// Cleans the cache. A process that another test starts holds a copy of every
    /// lock for a moment, between its fork and its exec: that is waited for.
    pub(crate) fn gc(&self, policy: &Policy) -> Collected {
        let store = engine::store(&self.experiment, &self.site);
        for _ in 0..500 {
            match engine::clean(&store, policy.clone(), None) {
                Err(StoreError::InUse(_)) => std::thread::sleep(Duration::from_millis(10)),
                done => return done.unwrap(),
            }
        }
        panic!("the cache is in use all the time");
    }

    /// `name=state` of a plan, in order.
    pub(crate) fn planned(&self) -> Vec<String> {
        let plan = engine::plan(&self.experiment, &self.site).unwrap();
        let stages = plan.stages.iter();
        stages
            .map(|stage| format!("{}={}", stage.name, stage.state.name()))
            .collect()
    }

    pub(crate) fn why(&self, name: &str) -> String {
        let plan = engine::plan(&self.experiment, &self.site).unwrap();
        let stage = plan.stages.iter().find(|stage| stage.name == name);
        stage.unwrap().why.clone()
    }

    pub(crate) fn stage_mut(&mut self, name: &str) -> &mut StageDecl {
        let mut stages = self.experiment.stages.iter_mut();
        stages.find(|stage| stage.name == name).unwrap()
    }

    /// Changes one parameter of a stage.
    pub(crate) fn set(&mut self, name: &str, field: &str, value: Value) {
        let stage = self.stage_mut(name);
        let mut spec = serde_json::to_value(&stage.spec).unwrap();
        spec[field] = value;
        stage.spec = serde_json::from_value(spec).unwrap();
    }

    /// The object file of an output of a committed stage.
    pub(crate) fn object(&self, stage: &str, output: &str) -> PathBuf {
        let view = engine::inspect(&self.experiment, &self.site).unwrap();
        fs::canonicalize(&view.stage(stage).unwrap().outputs[output]).unwrap()
    }
}

/// `name=state` of every stage, in running order.
pub(crate) fn states(summary: &RunSummary) -> Vec<String> {
    let name = |state: Outcome| serde_json::to_value(state).unwrap();
    let stages = summary.stages.iter();
    stages
        .map(|stage| format!("{}={}", stage.name, name(stage.state).as_str().unwrap()))
        .collect()
}

pub(crate) fn error(summary: &RunSummary, name: &str) -> StageFailure {
    let stage = summary.stages.iter().find(|stage| stage.name == name);
    stage.unwrap().error.clone().unwrap()
}

/// Waits until a file holds something; half a minute at most.
pub(crate) fn wait_for(path: &Path) {
    for _ in 0..3000 {
        if fs::read_to_string(path).is_ok_and(|text| !text.trim().is_empty()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} was never written", path.display());
}

pub(crate) fn stop(flag: &AtomicBool) {
    flag.store(true, Ordering::Relaxed);
}
