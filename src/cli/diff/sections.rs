//! A comparison as text and as Markdown: the same sections, other marks.

use super::super::run::shown;
use super::super::table::{columns, markdown, number};
use super::super::terminal::{self, Colour, plain};
use crate::engine::{
    Bounds, DataDiff, DataSide, Diff, FigureDiff, FoundBy, Rows, SideLabel, StageDiff,
};
use crate::plan::{Change, rows_text};

/// Longest value shown in text, in characters.
const LONGEST: usize = 60;

/// One part of what is shown.
struct Section {
    title: &'static str,
    heading: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    /// What is to be said below.
    note: Option<String>,
}

/// A cell and its colour.
struct Cell(String, Option<Colour>);

fn cell(text: impl AsRef<str>) -> Cell {
    Cell(plain(text.as_ref()), None)
}

fn coloured(text: impl AsRef<str>, colour: Colour) -> Cell {
    Cell(plain(text.as_ref()), Some(colour))
}

/// The comparison for a terminal.
pub(super) fn as_text(diff: &Diff) -> String {
    let mut text = format!("A  {}\nB  {}\n", side(&diff.a), side(&diff.b));
    if diff.same {
        text.push_str("\nnothing differs\n");
    }
    for section in sections(diff) {
        let title = terminal::paint(Colour::Green, section.title);
        text.push_str(&format!("\n{title}\n"));
        let heading = section.heading.iter();
        let heading = heading.map(|word| terminal::paint(Colour::Dim, word));
        let mut rows = vec![heading.collect()];
        rows.extend(
            section
                .rows
                .iter()
                .map(|row| row.iter().map(Cell::painted).collect()),
        );
        for line in columns(&rows).lines() {
            text.push_str(&format!("  {line}\n"));
        }
        if let Some(note) = section.note {
            text.push_str(&format!("  {}\n", terminal::paint(Colour::Dim, &note)));
        }
    }
    text
}

/// The comparison as Markdown.
pub(super) fn as_markdown(diff: &Diff) -> String {
    let mut text = format!("- A: {}\n- B: {}\n", side(&diff.a), side(&diff.b));
    if diff.same {
        text.push_str("\nNothing differs.\n");
    }
    for section in sections(diff) {
        text.push_str(&format!("\n## {}\n\n", section.title));
        let mut rows: Vec<Vec<String>> =
            vec![section.heading.iter().map(|word| (*word).into()).collect()];
        let cells = |row: Vec<Cell>| row.into_iter().map(|cell| cell.0).collect();
        rows.extend(section.rows.into_iter().map(cells));
        text.push_str(&markdown(&rows));
        if let Some(note) = section.note {
            text.push_str(&format!("\n{note}\n"));
        }
    }
    text
}

impl Cell {
    fn painted(&self) -> String {
        let mut text: String = self.0.chars().take(LONGEST).collect();
        if text.len() < self.0.len() {
            text.push('…');
        }
        match self.1 {
            Some(colour) => terminal::paint(colour, &text),
            None => text,
        }
    }
}

fn side(label: &SideLabel) -> String {
    let file = plain(&shown(&label.experiment));
    let rehearsal = if label.smoke { " (rehearsal)" } else { "" };
    match &label.run {
        None => format!("{file}{rehearsal} as it is now"),
        Some(run) => {
            let (id, state, started) = (&run.id, run.state.name(), plain(&run.started));
            format!("run {id} of {file}{rehearsal}, {started}, {state}")
        }
    }
}

fn sections(diff: &Diff) -> Vec<Section> {
    let sections = [
        stages(diff),
        settings(diff),
        data(diff),
        outcomes(diff),
        figures(diff),
    ];
    let sections = sections.into_iter();
    sections
        .filter(|section| !section.rows.is_empty())
        .collect()
}

/// Stages of one side, and renamed ones.
fn stages(diff: &Diff) -> Section {
    let row = |stage: &StageDiff| {
        let was = stage.was.as_deref().unwrap_or_default();
        let (mark, what) = match stage.found {
            FoundBy::Name => return None,
            FoundBy::Key => (
                Colour::Yellow,
                format!("renamed from `{was}`: the same key"),
            ),
            FoundBy::Content => (
                Colour::Yellow,
                format!("renamed from `{was}`: the same settings and inputs"),
            ),
            FoundBy::OnlyA => (Colour::Red, "only in A".to_owned()),
            FoundBy::OnlyB => (Colour::Green, "only in B".to_owned()),
        };
        Some(vec![
            coloured(&stage.name, mark),
            cell(stage.kind.name()),
            cell(what),
        ])
    };
    Section {
        title: "stages",
        heading: vec!["stage", "kind", "where"],
        rows: diff.stages.iter().filter_map(row).collect(),
        note: None,
    }
}

fn settings(diff: &Diff) -> Section {
    let mut rows = Vec::new();
    for stage in &diff.stages {
        let own = stage.changes.iter().filter(|change| !follows(diff, change));
        rows.extend(own.map(|change| setting(stage, change)));
    }
    let mut heading = vec!["stage", "field", "A", "B"];
    if rows.iter().any(|row| row.len() > heading.len()) {
        heading.push("");
    }
    Section {
        title: "settings",
        heading,
        rows,
        note: None,
    }
}

fn setting(stage: &StageDiff, change: &Change) -> Vec<Cell> {
    let value = |text: String, colour| match text.is_empty() {
        true => cell("-"),
        false => coloured(text, colour),
    };
    let mut row = vec![
        cell(&stage.name),
        cell(change.field()),
        value(change.old_text(), Colour::Red),
        value(change.new_text(), Colour::Green),
    ];
    if !change.is_keyed() {
        row.push(cell("changes no result"));
    }
    row
}

/// True for a change that is told elsewhere: other bytes of a file, or of a stage
/// of which something differs itself.
fn follows(diff: &Diff, change: &Change) -> bool {
    let Change::Input {
        old: Some(old),
        new: Some(new),
        ..
    } = change
    else {
        return false;
    };
    let told = match &new.stage {
        None => true,
        Some(name) => {
            let mut stages = diff.stages.iter();
            let stage = stages.find(|stage| stage.name == *name);
            stage.is_some_and(|stage| stage.found == FoundBy::OnlyB || !stage.changes.is_empty())
        }
    };
    let renamed = old.name != new.name && (new.named || new.stage.is_none());
    told && old.rows == new.rows && !renamed
}

fn data(diff: &Diff) -> Section {
    let row = |data: &DataDiff| {
        let place = |side: &Option<DataSide>, other: &Option<DataSide>| match side {
            Some(side) => data_text(side, other.as_ref()),
            None => "-".into(),
        };
        let rows = data.rows.as_ref().map_or(String::new(), rows_change);
        vec![
            cell(&data.name),
            cell(data.kind.name()),
            coloured(place(&data.a, &data.b), Colour::Red),
            coloured(place(&data.b, &data.a), Colour::Green),
            cell(rows),
        ]
    };
    Section {
        title: "data",
        heading: vec!["name", "kind", "A", "B", "rows"],
        rows: diff.data.iter().map(row).collect(),
        note: None,
    }
}

/// What tells one side of a source from the other.
fn data_text(side: &DataSide, other: Option<&DataSide>) -> String {
    let digest = side
        .digest
        .map_or("not there".into(), |digest| digest.short());
    let mut parts = vec![digest];
    if other.is_some_and(|other| other.rows != side.rows) {
        parts.push(rows_text(&side.rows));
    }
    if other.is_none_or(|other| other.place != side.place) {
        parts.push(shown(side.place.as_ref()));
    }
    parts.join(", ")
}

fn rows_change(rows: &Rows) -> String {
    match rows {
        Rows::Unknown { why } => why.clone(),
        Rows::Both { added, removed, .. } if added.rows == 0 && removed.rows == 0 => {
            "the same rows, in another order or written otherwise".into()
        }
        Rows::Both {
            common,
            added,
            removed,
        } => format!(
            "{} added, {} removed, {common} the same",
            added.rows, removed.rows
        ),
    }
}

/// What becomes of each stage on the second side.
fn outcomes(diff: &Diff) -> Section {
    let quiet = |state: &str| matches!(state, "cached" | "cut-off" | "not-run");
    let found = || {
        diff.stages
            .iter()
            .filter_map(|stage| Some((stage, stage.outcome.as_ref()?)))
    };
    let rows = found().filter(|(_, outcome)| !quiet(&outcome.state));
    let rows = rows.map(|(stage, outcome)| {
        let colour = match outcome.state.as_str() {
            "failed" | "killed" | "missing-input" => Colour::Red,
            "maybe" | "skipped" | "waiting" | "running" => Colour::Yellow,
            _ => Colour::Green,
        };
        vec![
            cell(&stage.name),
            coloured(&outcome.state, colour),
            cell(&outcome.why),
        ]
    });
    let cached =
        found().filter(|(_, outcome)| matches!(outcome.state.as_str(), "cached" | "cut-off"));
    let names: Vec<&str> = cached.map(|(stage, _)| stage.name.as_str()).collect();
    Section {
        title: match diff.b.run {
            None => "a run of B would compute",
            Some(_) => "how the stages of B ended",
        },
        heading: vec!["stage", "state", "why"],
        rows: rows.collect(),
        note: (!names.is_empty()).then(|| format!("cached: {}", plain(&names.join(", ")))),
    }
}

fn figures(diff: &Diff) -> Section {
    let row = |(stage, figure): (&StageDiff, &FigureDiff)| {
        let value = |value: Option<f64>, interval: Option<Bounds>| {
            let bounds = interval.map(|bounds| (bounds.lower, bounds.upper));
            with_bounds(value.map(number), bounds)
        };
        let paired = figure.interval.map(|found| (found.lower, found.upper));
        let difference = figure.difference.map(signed);
        vec![
            cell(&stage.name),
            cell(&figure.name),
            cell(value(figure.a, figure.a_interval)),
            cell(value(figure.b, figure.b_interval)),
            cell(with_bounds(difference, paired)),
        ]
    };
    let stages = diff.stages.iter();
    let all = stages.flat_map(|stage| stage.figures.iter().map(move |figure| (stage, figure)));
    let rows: Vec<Vec<Cell>> = all.clone().map(row).collect();
    let paired = all.clone().any(|(_, figure)| figure.interval.is_some());
    Section {
        title: "metrics",
        heading: vec!["stage", "metric", "A", "B", "B - A"],
        rows,
        note: paired.then(|| {
            "an interval of B - A is at 95 %, over the differences of the same records".into()
        }),
    }
}

fn with_bounds(value: Option<String>, bounds: Option<(f64, f64)>) -> String {
    match (value, bounds) {
        (None, _) => "-".into(),
        (Some(value), None) => value,
        (Some(value), Some((lower, upper))) => {
            format!("{value} [{}, {}]", number(lower), number(upper))
        }
    }
}

fn signed(value: f64) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}", number(value))
}
