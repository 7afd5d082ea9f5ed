//! Wins, ties and losses.

use moreline_protocol::spec::{StageKind, StageSpec};

use super::super::input::ReportStage;
use super::super::model::{
    Align, Block, Chart, Estimate, Figure, OutcomeRow, Outcomes, Panel, Table,
};
use super::super::number;
use super::{Source, absent};

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    if source.of_kind(StageKind::Judge).is_empty() {
        return vec![absent("comparison of responses", StageKind::Judge)];
    }
    let mut blocks = Vec::new();
    let stages = source.finished(StageKind::Judge, &mut blocks);
    if stages.is_empty() {
        return blocks;
    }
    blocks.extend(stages.iter().map(|stage| Block::Paragraph(sentence(stage))));
    blocks.push(figure(&stages));
    blocks.push(table(&stages));
    blocks
}

fn side(stage: &ReportStage, role: &str) -> String {
    stage.reference(role).unwrap_or_default()
}

fn comparison(stage: &ReportStage) -> String {
    format!("{} over {}", side(stage, "a"), side(stage, "b"))
}

fn rate(stage: &ReportStage) -> Option<Estimate> {
    Some(Estimate {
        value: stage.number(&["win_rate"])?,
        low: stage.number(&["win_rate_low"]),
        high: stage.number(&["win_rate_high"]),
    })
}

/// Who judged, and what the interval says.
fn sentence(stage: &ReportStage) -> String {
    let StageSpec::Judge(spec) = &stage.spec else {
        return String::new();
    };
    let judge = match (&spec.model, &spec.judge_model) {
        (Some(model), _) => format!("reward model {model}"),
        (None, Some(model)) => format!("language model {model}"),
        (None, None) => "a language model that the experiment does not name".into(),
    };
    let (a, b) = (side(stage, "a"), side(stage, "b"));
    let found = match rate(stage) {
        Some(Estimate { low: Some(low), .. }) if low > 0.5 => {
            format!("It prefers {a}: the 95 % interval of the win rate lies above 50 %.")
        }
        Some(Estimate {
            high: Some(high), ..
        }) if high < 0.5 => {
            format!("It prefers {b}: the 95 % interval of the win rate lies below 50 %.")
        }
        Some(Estimate {
            low: Some(_),
            high: Some(_),
            ..
        }) => "No preference is shown: the 95 % interval of the win rate includes 50 %.".into(),
        _ => "No interval of the win rate was recorded.".into(),
    };
    format!(
        "Stage {}: {judge} compares {a} with {b}. {found}",
        stage.name
    )
}

fn figure(stages: &[&ReportStage]) -> Block {
    let row = |stage: &&ReportStage| {
        let count = |name| stage.number(&[name]).unwrap_or(0.0).max(0.0);
        OutcomeRow {
            label: comparison(stage),
            win: count("win"),
            tie: count("tie"),
            loss: count("loss"),
            unparsed: count("unparsed"),
            rate: rate(stage),
        }
    };
    Block::Figure(Figure {
        caption: "Share of prompts won, tied and lost by the first side; below each bar its win \
                  rate with the 95 % interval."
            .into(),
        panels: vec![Panel {
            title: "Verdicts of the judge".into(),
            chart: Chart::Outcomes(Outcomes {
                rows: stages.iter().map(row).collect(),
            }),
        }],
    })
}

fn table(stages: &[&ReportStage]) -> Block {
    let mut table = Table::new("Verdicts of the judge, with 95 % intervals")
        .column("comparison", Align::Text)
        .numbers(["prompts", "win", "tie", "loss", "unparsed", "win rate"])
        .numbers([
            "length-controlled",
            "reward of first",
            "of second",
            "difference",
        ]);
    for stage in stages {
        let metric = |name| stage.number(&[name]);
        let mut row = vec![comparison(stage)];
        row.extend(
            ["prompts", "win", "tie", "loss", "unparsed"]
                .map(|name| number::optional_count(metric(name))),
        );
        let rate = rate(stage);
        row.push(number::percent_interval(
            rate.map(|r| r.value),
            rate.and_then(|r| r.low),
            rate.and_then(|r| r.high),
        ));
        row.push(number::optional_percent(metric(
            "length_controlled_win_rate",
        )));
        row.extend(
            ["mean_reward_a", "mean_reward_b"].map(|name| number::optional(metric(name), 3)),
        );
        row.push(difference(stage));
        table.row(row);
    }
    Block::Table(table)
}

fn difference(stage: &ReportStage) -> String {
    let value = |end| stage.number(&[end]);
    let text = number::optional(value("reward_difference"), 3);
    match (
        value("reward_difference_low"),
        value("reward_difference_high"),
    ) {
        (Some(low), Some(high)) => {
            format!(
                "{text} [{}, {}]",
                number::fixed(low, 3),
                number::fixed(high, 3)
            )
        }
        _ => text,
    }
}
