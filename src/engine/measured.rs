//! What stages measured: by their present results, or in a run.

use moreline_protocol::event::Metrics;
use moreline_protocol::spec::StageKind;

use super::EngineError;
use super::runs::{PastRun, PastSnapshot};
use super::session::Session;
use crate::config::{Experiment, Site, StageDecl};

/// The metrics of one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The run; absent for the present result.
    pub run: Option<String>,
    /// The stage's name, with its cell.
    pub stage: String,
    /// Its matrix cell: variables and values, if they are known.
    pub cell: Vec<(String, String)>,
    /// Its kind.
    pub kind: StageKind,
    /// Its metrics.
    pub metrics: Metrics,
}

/// The metrics of every stage that has a result. Reads only, takes no locks.
///
/// # Errors
/// The store cannot be read.
pub fn measured(experiment: &Experiment, site: &Site) -> Result<Vec<Measured>, EngineError> {
    let session = Session::open(experiment, site)?;
    let seen = session.look()?;
    let _ = session.store.save_memo();
    let found = seen.into_iter().filter_map(|seen| {
        let stage = session.graph.stage(seen.index);
        Some(Measured {
            run: None,
            stage: stage.name.clone(),
            cell: stage.cell.clone(),
            kind: stage.spec.kind(),
            metrics: seen.record?.metrics,
        })
    });
    Ok(found.collect())
}

impl PastRun {
    /// The metrics of every stage whose result was there at the run's end.
    pub fn measured(&self) -> Vec<Measured> {
        let snapshot = PastSnapshot::read(&self.directory).ok();
        let cell = |name: &str| {
            let stages = snapshot
                .as_ref()
                .map(|snapshot| &snapshot.experiment.stages);
            let found = |stage: &&StageDecl| stage.name == name;
            let stage = stages.and_then(|stages| stages.iter().find(found));
            stage.map_or_else(Vec::new, |stage| stage.cell.clone())
        };
        let stages = self.stages.iter().filter_map(|stage| {
            Some(Measured {
                run: Some(self.id.clone()),
                stage: stage.name.clone(),
                cell: cell(&stage.name),
                kind: stage.kind?,
                metrics: stage.metrics.clone()?,
            })
        });
        stages.collect()
    }
}
