//! The graph of a plan, drawn.

use std::collections::HashMap;
use std::fmt::Write;

use super::args::GraphFormat;
use super::plan::state;
use super::table::columns;
use crate::plan::{Plan, PlannedStage, StageState};

/// Fill colours by state, light enough for black text.
fn colour(state: &StageState) -> &'static str {
    match state {
        StageState::Cached => "#e5e5e5",
        StageState::Run { .. } => "#c8e6c9",
        StageState::Maybe { .. } => "#fff3c4",
        StageState::MissingInput { .. } => "#ffcdd2",
    }
}

/// Draws a plan's stages and what they take from each other.
pub(super) fn draw(plan: &Plan, format: GraphFormat) -> String {
    match format {
        GraphFormat::Dot => dot(plan),
        GraphFormat::Mermaid => mermaid(plan),
        GraphFormat::Text => text(plan),
    }
}

fn dot(plan: &Plan) -> String {
    let mut drawing = format!("digraph {} {{\n", quoted(&plan.experiment));
    drawing.push_str("  rankdir=LR;\n  node [shape=box, style=filled];\n");
    for stage in &plan.stages {
        let label = format!(
            "{}\n{}\n{}",
            stage.name,
            stage.kind.name(),
            stage.state.name()
        );
        let _ = writeln!(
            drawing,
            "  {} [label={}, fillcolor=\"{}\"];",
            quoted(&stage.name),
            quoted(&label),
            colour(&stage.state)
        );
    }
    for stage in &plan.stages {
        for from in &stage.needs {
            let _ = writeln!(drawing, "  {} -> {};", quoted(from), quoted(&stage.name));
        }
    }
    drawing.push_str("}\n");
    drawing
}

/// A string of the DOT language.
fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

fn mermaid(plan: &Plan) -> String {
    let places = plan.stages.iter().enumerate();
    let place: HashMap<&str, usize> = places.map(|(i, stage)| (stage.name.as_str(), i)).collect();
    let mut drawing = "flowchart LR\n".to_owned();
    for (index, stage) in plan.stages.iter().enumerate() {
        let (kind, state) = (stage.kind.name(), stage.state.name());
        // Values of a matrix may hold quotes.
        let name = stage.name.replace('"', "#quot;");
        let _ = writeln!(
            drawing,
            "  s{index}[\"{name}<br>{kind}<br>{state}\"]:::{state}"
        );
    }
    for (index, stage) in plan.stages.iter().enumerate() {
        for from in stage
            .needs
            .iter()
            .filter_map(|from| place.get(from.as_str()))
        {
            let _ = writeln!(drawing, "  s{from} --> s{index}");
        }
    }
    let mut told: Vec<&str> = Vec::new();
    for stage in &plan.stages {
        let name = stage.state.name();
        if !told.contains(&name) {
            told.push(name);
            let fill = colour(&stage.state);
            let _ = writeln!(drawing, "  classDef {name} fill:{fill},color:#000");
        }
    }
    drawing
}

/// Each stage below what it needs, indented by how far it is from the start.
fn text(plan: &Plan) -> String {
    let mut depth: HashMap<&str, usize> = HashMap::new();
    let mut rows = Vec::with_capacity(plan.stages.len());
    for stage in &plan.stages {
        let needs = stage.needs.iter();
        let before = needs.filter_map(|from| depth.get(from.as_str())).max();
        let own = before.map_or(0, |before| before + 1);
        depth.insert(&stage.name, own);
        rows.push(row(stage, own));
    }
    columns(&rows)
}

fn row(stage: &PlannedStage, depth: usize) -> Vec<String> {
    let takes = match stage.needs.is_empty() {
        true => String::new(),
        false => format!("<- {}", stage.needs.join(", ")),
    };
    vec![
        format!("{}{}", "  ".repeat(depth), stage.name),
        state(&stage.state),
        takes,
    ]
}

#[cfg(test)]
mod tests {
    use moreline_protocol::spec::StageKind;

    use super::*;

    fn stage(name: &str, needs: &[&str], state: StageState) -> PlannedStage {
        PlannedStage {
            name: name.into(),
            kind: StageKind::Score,
            cell: Vec::new(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            key: None,
            why: state.reason(),
            state,
        }
    }

    fn plan() -> Plan {
        let after = vec!["a:x".to_owned()];
        Plan {
            experiment: "toy".into(),
            stages: vec![
                stage("a:x", &[], StageState::Cached),
                stage("b", &["a:x"], StageState::Maybe { after }),
            ],
        }
    }

    #[test]
    fn every_format_shows_every_stage_and_edge() {
        insta::assert_snapshot!(draw(&plan(), GraphFormat::Text), @r"
        a:x  cached
          b  maybe   <- a:x
        ");
        insta::assert_snapshot!(draw(&plan(), GraphFormat::Dot), @r##"
        digraph "toy" {
          rankdir=LR;
          node [shape=box, style=filled];
          "a:x" [label="a:x\nscore\ncached", fillcolor="#e5e5e5"];
          "b" [label="b\nscore\nmaybe", fillcolor="#fff3c4"];
          "a:x" -> "b";
        }
        "##);
        insta::assert_snapshot!(draw(&plan(), GraphFormat::Mermaid), @r##"
        flowchart LR
          s0["a:x<br>score<br>cached"]:::cached
          s1["b<br>score<br>maybe"]:::maybe
          s0 --> s1
          classDef cached fill:#e5e5e5,color:#000
          classDef maybe fill:#fff3c4,color:#000
        "##);
    }
}
