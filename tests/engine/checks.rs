//! Input files are read for their soundness once, as long as their bytes stay.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use moreline::config::Experiment;
use moreline::engine::{
    self, Environment, Finished, KnownInputs, RunOptions, Selection, Silent, StageFailure,
    StageRunner,
};
use moreline_protocol::event::{Event, Metrics};
use moreline_protocol::job::Job;

use super::fixture::{Fixture, Runner};

/// Counts the files it has to read.
struct Reader {
    way: &'static str,
    reads: AtomicUsize,
}

impl StageRunner for Reader {
    fn run_in_engine(
        &self,
        job: &Job,
        cancel: &AtomicBool,
        progress: &dyn Fn(Event),
    ) -> Result<Finished, StageFailure> {
        Runner::default().run_in_engine(job, cancel, progress)
    }

    fn after_worker(&self, _: &Job) -> Result<Option<Metrics>, StageFailure> {
        Ok(None)
    }

    fn check_inputs(&self, experiment: &Experiment, known: &dyn KnownInputs) -> Vec<StageFailure> {
        let path = &experiment.data["helpful"].path;
        if !known.is_sound(path, self.way) {
            self.reads.fetch_add(1, Ordering::Relaxed);
            known.found_sound(path, self.way);
        }
        Vec::new()
    }
}

/// Runs; how many files were read.
fn reads(fixture: &Fixture, way: &'static str) -> usize {
    let reader = Reader {
        way,
        reads: AtomicUsize::new(0),
    };
    let options = RunOptions {
        jobs: None,
        selection: Selection {
            force: vec!["eval".into()],
            ..Selection::default()
        },
        fail_fast: false,
        cancel: Arc::clone(&fixture.cancel),
        environment: Environment::default(),
        runner: &reader,
        worker: PathBuf::from("/nowhere"),
    };
    engine::run(&fixture.experiment, &fixture.site, &options, &Silent).unwrap();
    reader.reads.into_inner()
}

#[test]
fn a_file_found_sound_is_not_read_again() {
    let fixture = Fixture::new();
    assert_eq!(reads(&fixture, "as preferences"), 1);
    assert_eq!(reads(&fixture, "as preferences"), 0);
    let file = fixture.path("helpful.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text).unwrap();
    assert_eq!(reads(&fixture, "as preferences"), 0);
    assert_eq!(reads(&fixture, "as prompts"), 1);
    fs::write(&file, text.replace('a', "c")).unwrap();
    assert_eq!(reads(&fixture, "as preferences"), 1);
}
