//! Why a stage runs, or does not: its fields against the nearest earlier
//! result, and what changed upstream, followed to where it began.

mod past;

use std::collections::HashMap;

use moreline_protocol::spec::StageKind;
use serde::Serialize;

use super::session::{Seen, Session};
use super::{EngineError, Remote};
use crate::config::{Experiment, Site};
use crate::plan::{Change, StageKey, StageState};
use crate::store::ActionRecord;
use past::Archive;
pub(super) use past::common_fields;

/// Why a stage of an experiment is in its state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The stage itself, and what it depends on as far as that matters.
    #[serde(flatten)]
    pub stage: ExplainedStage,
    /// Where the changes began, nearest to the stage last. Empty if nothing
    /// changed.
    pub roots: Vec<Root>,
}

/// One stage against its nearest earlier result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedStage {
    /// The stage's name, with its cell.
    pub name: String,
    /// Its kind.
    pub kind: StageKind,
    /// What a run would do with it.
    #[serde(flatten)]
    pub state: StageState,
    /// The same in one line.
    pub why: String,
    /// Its key, if every input's bytes are known.
    pub key: Option<StageKey>,
    /// The result it is compared with; absent if there is none.
    pub compared_with: Option<Compared>,
    /// The fields that are not as they were.
    pub changes: Vec<Change>,
    /// The fields that are.
    pub unchanged: Vec<String>,
    /// Stages whose outputs changed and so changed this one's inputs. A stage
    /// is explained where it is met first.
    pub causes: Vec<ExplainedStage>,
}

/// An earlier result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// The stage's name then.
    pub stage: String,
    /// Its key.
    pub key: StageKey,
    /// The run that computed it.
    pub run: String,
    /// When: RFC 3339, UTC.
    pub finished: String,
    /// How it was found.
    pub found: Found,
}

/// How an earlier result was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// It is the stage's present result.
    Own,
    /// It is the last result of the stage of that name.
    Name,
    /// It gave the bytes that a stage took as its input.
    Output,
    /// Of all results of the kind it has the most in common.
    Likeness,
}

/// Where a change began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Root {
    /// The stage.
    pub stage: String,
    /// What changed, in one line.
    pub why: String,
}

/// Explains the stage of exactly this name. Reads only, takes no locks. With
/// `remote` the site's cache layers are asked for what the store lacks.
pub fn explain(
    experiment: &Experiment,
    site: &Site,
    stage: &str,
    remote: Option<&Remote<'_>>,
) -> Result<Explanation, EngineError> {
    let session = Session::open(experiment, site)?.with_remote(remote);
    let index = session.index(stage)?;
    let survey = session.look()?;
    let mut explainer = Explainer::new(&session, &survey);
    let explained = explainer.stage(index, None)?;
    let _ = session.store.save_memo();
    Ok(Explanation {
        stage: explained,
        roots: explainer.roots,
    })
}

struct Explainer<'a> {
    survey: &'a [Seen],
    archive: Archive<'a>,
    /// Place in the survey of each stage, by name.
    places: HashMap<&'a str, usize>,
    visited: Vec<bool>,
    roots: Vec<Root>,
}

impl<'a> Explainer<'a> {
    fn new(session: &'a Session<'a>, survey: &'a [Seen]) -> Self {
        let name = |seen: &Seen| session.graph.stage(seen.index).name.as_str();
        let places = survey.iter().enumerate();
        Self {
            survey,
            archive: Archive::new(session),
            places: places.map(|(place, seen)| (name(seen), place)).collect(),
            visited: vec![false; survey.len()],
            roots: Vec::new(),
        }
    }

    /// Explains a stage; `gave` is what the earlier result must have given.
    fn stage(
        &mut self,
        index: usize,
        gave: Option<crate::digest::Digest>,
    ) -> Result<ExplainedStage, EngineError> {
        let name = &self.archive.session.graph.stage(index).name;
        let survey = self.survey;
        let place = self.places[name.as_str()];
        self.visited[place] = true;
        let seen = &survey[place];
        let past = self.archive.nearest(name, seen, gave)?;
        let (mut changes, mut unchanged) = (Vec::new(), Vec::new());
        if let Some((record, _)) = &past {
            changes = seen.present.changes_since(&super::resolve::past(record));
            let changed: Vec<String> = changes.iter().map(Change::field).collect();
            unchanged = seen.present.fields();
            unchanged.retain(|field| !changed.contains(field));
        }
        let causes = self.causes(&changes)?;
        self.find_roots(name, seen, past.is_some(), &changes);
        Ok(ExplainedStage {
            name: name.clone(),
            kind: seen.present.kind,
            state: seen.state.clone(),
            why: seen.why(),
            key: seen.key,
            compared_with: past.map(|(record, found)| compared(&record, found)),
            changes,
            unchanged,
            causes,
        })
    }

    /// The stages whose outputs changed, each once.
    fn causes(&mut self, changes: &[Change]) -> Result<Vec<ExplainedStage>, EngineError> {
        let mut causes = Vec::new();
        for change in changes {
            let Some(&place) = change.upstream().and_then(|name| self.places.get(name)) else {
                continue;
            };
            if !self.visited[place] {
                let gave = match change {
                    Change::Input { old: Some(old), .. } => old.digest,
                    _ => None,
                };
                causes.push(self.stage(self.survey[place].index, gave)?);
            }
        }
        Ok(causes)
    }

    /// What began here and not upstream.
    fn find_roots(&mut self, name: &str, seen: &Seen, compared: bool, changes: &[Change]) {
        let own = changes
            .iter()
            .filter(|change| change.is_keyed() && change.upstream().is_none());
        let own: Vec<String> = own.map(ToString::to_string).collect();
        let keyed = changes.iter().any(Change::is_keyed);
        let why = match &seen.state {
            StageState::MissingInput { .. } => vec![seen.state.reason()],
            StageState::Run { reason } if !compared || !keyed => vec![reason.clone()],
            StageState::Maybe { .. } if !compared => vec!["no result yet".into()],
            _ => own,
        };
        self.roots.extend(why.into_iter().map(|why| Root {
            stage: name.to_owned(),
            why,
        }));
    }
}

fn compared(record: &ActionRecord, found: Found) -> Compared {
    Compared {
        stage: record.stage.clone(),
        key: record.key,
        run: record.provenance.run.clone(),
        finished: record.provenance.finished.clone(),
        found,
    }
}
