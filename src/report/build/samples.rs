//! A few prompts with the responses of both sides.

use moreline_protocol::artifact::{RESPONSES, VERDICTS};
use moreline_protocol::rows::{Message, ResponseRow, Verdict, VerdictRow};
use moreline_protocol::spec::StageKind;

use super::super::artifacts;
use super::super::input::ReportStage;
use super::super::model::{Block, Sample, SampleResponse};
use super::{Source, absent};

/// Prompts shown of each comparison.
const SHOWN: usize = 6;

pub(super) fn blocks(source: &Source<'_>) -> Vec<Block> {
    let judges = source.of_kind(StageKind::Judge);
    if !judges.is_empty() {
        let blocks = judges.iter().enumerate();
        return blocks.map(|(i, stage)| judged(stage, i == 0)).collect();
    }
    let mut blocks = vec![absent("verdicts beside the texts", StageKind::Judge)];
    let stages = source.of_kind(StageKind::Generate);
    if stages.is_empty() {
        blocks.push(absent("sampled text", StageKind::Generate));
    }
    blocks.extend(stages.into_iter().map(generated));
    blocks
}

/// `SHOWN` rows spread evenly over all, the first included.
fn spread<T>(rows: &[T]) -> impl Iterator<Item = &T> {
    let shown = rows.len().min(SHOWN);
    (0..shown).map(move |i| &rows[i * rows.len() / shown])
}

fn messages(prompt: &[Message]) -> Vec<(String, String)> {
    let pair = |message: &Message| (message.role.clone(), message.content.clone());
    prompt.iter().map(pair).collect()
}

fn judged(stage: &ReportStage, open: bool) -> Block {
    let rows = match artifacts::rows::<VerdictRow>(stage, VERDICTS) {
        Ok(rows) => rows,
        Err(sentence) => return Block::Missing(sentence),
    };
    let name = |role| stage.reference(role).unwrap_or_default();
    let (a, b) = (name("a"), name("b"));
    Block::Details {
        summary: format!(
            "{a} and {b}: {} of {} prompts, evenly spread",
            rows.len().min(SHOWN),
            rows.len()
        ),
        open,
        blocks: vec![Block::Samples(
            spread(&rows)
                .map(|row| verdict_sample(row, &a, &b))
                .collect(),
        )],
    }
}

fn verdict_sample(row: &VerdictRow, a: &str, b: &str) -> Sample {
    let verdict = match row.verdict {
        Verdict::Win => format!("The judge prefers {a}."),
        Verdict::Loss => format!("The judge prefers {b}."),
        Verdict::Tie => "The judge sees a tie.".into(),
        Verdict::Unparsed => "The judge's reply could not be read.".into(),
    };
    let response = |label: &str, text: &str, index: usize, won: Verdict| SampleResponse {
        label: label.to_owned(),
        text: text.to_owned(),
        reward: row.rewards.map(|rewards| rewards[index]),
        preferred: row.verdict == won,
    };
    Sample {
        prompt: messages(&row.prompt),
        responses: vec![
            response(b, &row.b, 1, Verdict::Loss),
            response(a, &row.a, 0, Verdict::Win),
        ],
        verdict: Some(verdict),
    }
}

fn generated(stage: &ReportStage) -> Block {
    let rows = match artifacts::rows::<ResponseRow>(stage, RESPONSES) {
        Ok(rows) => rows,
        Err(sentence) => return Block::Missing(sentence),
    };
    let sample = |row: &ResponseRow| Sample {
        prompt: messages(&row.prompt),
        responses: row
            .responses
            .iter()
            .take(1)
            .map(|response| SampleResponse {
                label: stage.name.clone(),
                text: response.text.clone(),
                reward: response.score,
                preferred: false,
            })
            .collect(),
        verdict: None,
    };
    Block::Details {
        summary: format!(
            "{}: first responses to {} prompts",
            stage.name,
            rows.len().min(SHOWN)
        ),
        open: true,
        blocks: vec![Block::Samples(spread(&rows).map(sample).collect())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_spread_and_never_repeated() {
        let rows: Vec<u32> = (0..64).collect();
        assert_eq!(
            spread(&rows).copied().collect::<Vec<_>>(),
            [0, 10, 21, 32, 42, 53]
        );
        assert_eq!(spread(&rows[..2]).copied().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(spread(&rows[..0]).count(), 0);
    }
}
