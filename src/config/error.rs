//! What is wrong with an experiment, all of it at once.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};

use super::place::Place;
use super::source::{At, Sources};
use crate::redact;

/// One thing wrong, completing "failed to read the experiment: ...".
#[derive(Debug, Clone)]
pub(super) struct Problem {
    /// What is wrong.
    pub(super) message: String,
    /// The places, each with a short note; the first is the main one.
    pub(super) labels: Vec<(At, String)>,
    /// The way out.
    pub(super) hint: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub(super) fn at(at: &At, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            labels: vec![(at.clone(), label.into())],
            hint: None,
        }
    }

    /// A problem without a place.
    pub(super) fn nowhere(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            labels: Vec::new(),
            hint: None,
        }
    }

    /// The same with the way out.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with another place.
    pub(super) fn also(mut self, at: &At, label: impl Into<String>) -> Self {
        self.labels.push((at.clone(), label.into()));
        self
    }
}

/// One error as miette draws it.
#[derive(Debug)]
pub struct ConfigError {
    message: String,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
    hint: Option<String>,
}

impl ConfigError {
    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The way out, if one is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Where it is, if it has a place.
    pub fn place(&self) -> Option<Place> {
        let source = self.source.as_ref()?;
        let start = self.labels.first()?.offset();
        Some(Place::in_text(source.name(), source.inner(), start))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint
            .as_ref()
            .map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source
            .as_ref()
            .map(|source| source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.labels.is_empty()).then(|| Box::new(self.labels.iter().cloned()) as Box<_>)
    }
}

/// Everything wrong with an experiment or site file: never empty.
#[derive(Debug)]
pub struct ConfigErrors {
    /// The file that was asked for.
    pub file: String,
    /// The errors, in file order.
    pub errors: Vec<ConfigError>,
}

impl ConfigErrors {
    pub(super) fn new(file: String, problems: Vec<Problem>, sources: &Sources) -> Self {
        let mut seen = std::collections::HashSet::new();
        let errors = problems
            .into_iter()
            .filter(|problem| seen.insert((problem.message.clone(), problem.labels.clone())))
            .map(|problem| present(problem, sources))
            .collect();
        Self { file, errors }
    }

    /// The errors drawn with their source lines, `width` columns wide, and how
    /// many there are.
    pub fn render(&self, width: usize, colours: bool) -> String {
        format!("{}{self}\n", self.drawn(width, colours))
    }

    /// The errors drawn with their source lines, `width` columns wide.
    pub fn drawn(&self, width: usize, colours: bool) -> String {
        let theme = if colours {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(width)
            .with_links(false);
        let mut text = String::new();
        for error in &self.errors {
            // Writing to a string fails only if a Display implementation does.
            if handler.render_report(&mut text, error).is_err() {
                text.push_str(&error.message);
            }
            text.push('\n');
        }
        text
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() {
            1 => write!(f, "1 error in {}", self.file),
            n => write!(f, "{n} errors in {}", self.file),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Turns a problem into what miette draws. Labels in other files than the main
/// one are told in the hint, for a drawing shows one file. What URLs hold of
/// credentials is shown nowhere.
fn present(problem: Problem, sources: &Sources) -> ConfigError {
    let main = problem.labels.first().map(|(at, _)| at.source);
    let mut hint = problem.hint;
    let mut labels = Vec::new();
    for (at, label) in &problem.labels {
        let source = sources.get(at.source);
        if Some(at.source) == main {
            let start = at.span.start.min(source.text.len());
            let length = at.span.end.min(source.text.len()).saturating_sub(start);
            labels.push(LabeledSpan::new(Some(label.clone()), start, length));
        } else {
            let line = 1 + source.text[..at.span.start].matches('\n').count();
            let note = format!("{label}: {} line {line}", source.name);
            hint = Some(hint.map_or(note.clone(), |hint| format!("{hint}\n{note}")));
        }
    }
    let source = main.map(|id| {
        let source = sources.get(id);
        NamedSource::new(&source.name, redact::overwrite(&source.text).into_owned())
    });
    ConfigError {
        message: redact::text(&problem.message).into_owned(),
        source,
        labels,
        hint: hint.map(|hint| redact::text(&hint).into_owned()),
    }
}
