//! `moreline explain`.

use clap::Args;

use super::args::ShowArguments;
use super::error::CliError;
use super::plan::state;
use super::progress::{Detail, Progress};
use super::session::Session;
use super::table::columns;
use super::terminal::{self, Colour};
use crate::engine::{self, Compared, ExplainedStage, Explanation, Found};
use crate::plan::{Change, StageState};

/// Longest value shown in a table, in characters.
const LONGEST: usize = 40;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    pub(super) stage: ShowArguments,
    /// Ask the site's cache layers, too, for what is not in the cache
    #[arg(long)]
    pub(super) remote: bool,
}

/// Explains one stage.
pub(super) fn run(arguments: &ExplainArguments) -> Result<(), CliError> {
    let session = Session::open(&arguments.stage.experiment)?;
    let name = session.stage_name(&arguments.stage.stage)?;
    let progress = Progress::new(Detail::Quiet);
    let remote = session.remote(arguments.remote, &progress);
    let (experiment, site) = (&session.experiment, &session.site);
    let explanation = engine::explain(experiment, site, &name, remote.as_ref())?;
    if arguments.stage.json {
        return terminal::json(&explanation);
    }
    terminal::out(&as_text(&explanation))
}

fn as_text(explanation: &Explanation) -> String {
    let stage = &explanation.stage;
    let mut text = String::new();
    one_stage(&mut text, stage, 0);
    if !stage.unchanged.is_empty() && stage.state != StageState::Cached {
        let unchanged = format!("unchanged: {}", stage.unchanged.join(", "));
        text.push_str(&format!("{}\n", terminal::paint(Colour::Dim, &unchanged)));
    }
    if !stage.causes.is_empty() {
        text.push_str(&format!(
            "\n{}\n",
            terminal::paint(Colour::Green, "upstream")
        ));
        causes(&mut text, &stage.causes, 1);
    }
    if explanation
        .roots
        .iter()
        .any(|root| root.stage != stage.name)
    {
        text.push_str(&format!(
            "\n{}\n",
            terminal::paint(Colour::Green, "it began with")
        ));
        for root in &explanation.roots {
            text.push_str(&format!("  {}: {}\n", root.stage, root.why));
        }
    }
    text
}

fn causes(text: &mut String, stages: &[ExplainedStage], depth: usize) {
    for stage in stages {
        one_stage(text, stage, depth);
        causes(text, &stage.causes, depth + 1);
    }
}

fn one_stage(text: &mut String, stage: &ExplainedStage, depth: usize) {
    let indent = "  ".repeat(depth);
    let kind = stage.kind.name();
    text.push_str(&format!(
        "{indent}{}  {kind}  {}: {}\n",
        stage.name,
        state(&stage.state),
        stage.why
    ));
    text.push_str(&match &stage.compared_with {
        Some(past) => format!("{indent}{}\n", compared(stage, past)),
        None => format!("{indent}there is no earlier result to compare it with\n"),
    });
    for line in columns(&table(&stage.changes)).lines() {
        text.push_str(&format!("{indent}  {line}\n"));
    }
}

fn compared(stage: &ExplainedStage, past: &Compared) -> String {
    let Compared { run, finished, .. } = past;
    let when = format!("of {finished} (run {run})");
    match past.found {
        Found::Own if stage.changes.is_empty() => {
            format!("every field of its key is as in its result {when}")
        }
        Found::Own => format!("compared with its result {when}"),
        Found::Name => format!("compared with its last result, {when}"),
        Found::Output => format!("compared with the result {when} that was taken then"),
        Found::Likeness => {
            let name = &past.stage;
            format!("it has no result; compared with the likest one, `{name}` {when}")
        }
    }
}

/// Field, old value, new value.
pub(super) fn table(changes: &[Change]) -> Vec<Vec<String>> {
    if changes.is_empty() {
        return Vec::new();
    }
    let heading = ["field", "was", "is"].map(|word| terminal::paint(Colour::Dim, word));
    let mut rows = vec![heading.to_vec()];
    rows.extend(changes.iter().map(|change| {
        let mut row = vec![
            change.field(),
            value(&change.old_text(), Colour::Red),
            value(&change.new_text(), Colour::Green),
        ];
        if !change.is_keyed() {
            row.push("(changes no result)".into());
        }
        row
    }));
    rows
}

/// A value cut to a column's width, in its colour; `-` if there is none.
fn value(text: &str, colour: Colour) -> String {
    if text.is_empty() {
        return "-".into();
    }
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    terminal::paint(colour, &short)
}
