//! Everything wrong with an experiment: its file, its site, its inputs.

use serde_json::Value;

use super::error::{config_problem, input_count, input_problem, inputs};
use super::terminal;
use crate::config::{ConfigErrors, Experiment, Loaded, Site};
use crate::engine::{NothingKnown, StageFailure, StageRunner};
use crate::judge::{Lookup, Runner};
use crate::records;

/// What is wrong, in the order it is told.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// With the experiment file, and with the site file.
    pub(super) files: Vec<ConfigErrors>,
    /// With what they name.
    pub(super) inputs: Vec<StageFailure>,
}

impl Findings {
    /// True if nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.inputs.is_empty()
    }

    /// How much is wrong, in one line.
    pub(super) fn count(&self) -> String {
        let mut parts: Vec<String> = self.files.iter().map(ToString::to_string).collect();
        if !self.inputs.is_empty() {
            parts.push(input_count(self.inputs.len()));
        }
        parts.join(", ")
    }

    /// All of it as JSON objects.
    pub(super) fn problems(&self) -> Vec<Value> {
        let files = self.files.iter().flat_map(|errors| &errors.errors);
        let inputs = self.inputs.iter().map(input_problem);
        files.map(config_problem).chain(inputs).collect()
    }

    /// All of it as it is shown.
    pub(super) fn render(&self) -> String {
        let colours = terminal::stderr_colours();
        let mut text = String::new();
        for errors in &self.files {
            text.push_str(&errors.drawn(terminal::WIDTH, colours));
        }
        if !self.inputs.is_empty() {
            text.push_str(&inputs(&self.inputs));
            text.push('\n');
        }
        format!("{text}{}\n", self.count())
    }
}

/// What is wrong with the inputs of an experiment, as far as it could be read:
/// files that are not there, rows, models' headers, and, if the site could be
/// read, endpoints.
pub(super) fn of_inputs(
    loaded: &Loaded,
    site: Option<&Site>,
    lookup: &Lookup,
) -> Vec<StageFailure> {
    let Some(experiment) = &loaded.experiment else {
        return Vec::new();
    };
    let mut found = records::missing_inputs(experiment, &|name| loaded.place(name));
    found.extend(contents(experiment, site, lookup));
    found
}

fn contents(experiment: &Experiment, site: Option<&Site>, lookup: &Lookup) -> Vec<StageFailure> {
    match site {
        Some(site) => Runner { site, lookup }.check_inputs(experiment, &NothingKnown),
        None => records::check_inputs(experiment, &NothingKnown),
    }
}
