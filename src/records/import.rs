//! `import`: published preference sets as prompts and responses.

use std::collections::HashSet;
use std::path::Path;

use moreline_formats::dialogue;
use moreline_formats::rows::{
    PreferenceBody, PreferenceRow, Reason, RowError, Tolerant, read_preferences_tolerant,
};
use moreline_protocol::artifact::PAIRS;
use moreline_protocol::event::{Event, Level, Metrics};
use moreline_protocol::job::{Job, RowRange};
use moreline_protocol::rows::Message;
use moreline_protocol::spec::Import;
use serde::Serialize;
use serde_json::json;

use super::output::write_rows;
use super::{RecordsError, input, metrics};
use crate::digest::Digest;

/// One imported row: in the form `chosen`, `rejected` if it is a plain pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum ImportedRow {
    Pair {
        prompt: Vec<Message>,
        chosen: String,
        rejected: String,
    },
    Ranked {
        prompt: Vec<Message>,
        responses: Vec<String>,
        scores: Vec<f64>,
    },
}

/// A row and whether its responses hold more turns than the last reply.
struct Split {
    row: ImportedRow,
    identical: bool,
    longer: bool,
}

pub(super) fn run(
    job: &Job,
    spec: &Import,
    progress: &dyn Fn(Event),
) -> Result<Metrics, RecordsError> {
    let input = input(job, "data")?;
    let Tolerant { rows, bad } = read(&input.path, input.rows.capped(spec.limit), spec)?;
    if let Some(bad) = &bad {
        progress(Event::Log {
            level: Level::Warn,
            message: format!("left out: {bad}"),
        });
    }
    let mut counts = Counts::default();
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for split in rows {
        if split.identical {
            counts.identical += 1;
        } else if spec.deduplicate && !seen.insert(digest(&split.row)) {
            counts.duplicates += 1;
        } else {
            counts.longer += usize::from(split.longer);
            kept.push(split.row);
        }
    }
    if kept.is_empty() {
        return Err(RecordsError::Nothing {
            action: "import",
            path: input.path.clone(),
            reason: format!("{} rows have identical responses", counts.identical),
        });
    }
    write_rows(&job.output_dir, PAIRS, &kept)?;
    let bad = bad.map_or(0, |bad| bad.total);
    let Counts {
        identical,
        duplicates,
        longer,
    } = counts;
    Ok(metrics(json!({
        "rows": kept.len() + identical + duplicates + bad as usize,
        "imported": kept.len(),
        "duplicates": duplicates,
        "identical": identical,
        "bad": bad,
        "part_before_last_reply": longer,
    })))
}

#[derive(Default)]
struct Counts {
    identical: usize,
    duplicates: usize,
    longer: usize,
}

/// Reads the set, unless more of its rows are bad than the stage tolerates.
fn read(path: &Path, range: RowRange, spec: &Import) -> Result<Tolerant<Split>, RecordsError> {
    let read = read_preferences_tolerant(path, range, split)?;
    match read.bad {
        Some(bad) if is_too_much(&bad, spec.max_bad_share) => Err(RecordsError::TooManyBad {
            share: 100.0 * bad.total as f64 / bad.rows as f64,
            allowed: 100.0 * spec.max_bad_share,
            rows: bad,
        }),
        bad => Ok(Tolerant { bad, ..read }),
    }
}

fn is_too_much(bad: &RowError, allowed: f64) -> bool {
    bad.total == bad.rows || bad.total as f64 > allowed * bad.rows as f64
}

/// [`read`] for the check before anything runs.
pub(super) fn check(path: &Path, range: RowRange, spec: &Import) -> Result<(), RecordsError> {
    read(path, range, spec).map(drop)
}

fn digest(row: &ImportedRow) -> Digest {
    Digest::of(serde_json::to_string(row).unwrap_or_default().as_bytes())
}

/// Splits full dialogues into the prompt they share and what follows it.
fn split(row: PreferenceRow) -> Result<Split, Reason> {
    let (prompt, responses, longer) = match row.body {
        PreferenceBody::Replies { prompt, responses } => (prompt, responses, false),
        PreferenceBody::Texts(texts) => split_texts(&texts)?,
    };
    let identical = responses.iter().all(|response| *response == responses[0]);
    let row = match (<[String; 2]>::try_from(responses), &row.scores[..]) {
        (Ok([chosen, rejected]), [a, b]) if a > b => ImportedRow::Pair {
            prompt,
            chosen,
            rejected,
        },
        (Ok([rejected, chosen]), [a, b]) if a < b => ImportedRow::Pair {
            prompt,
            chosen,
            rejected,
        },
        (responses, _) => ImportedRow::Ranked {
            prompt,
            responses: responses.map_or_else(|responses| responses, Vec::from),
            scores: row.scores,
        },
    };
    Ok(Split {
        row,
        identical,
        longer,
    })
}

/// The longest dialogue all texts begin with, as far as its last user message,
/// and the rest of each text, byte for byte. True if a rest holds more than
/// one reply: the dialogues part before their last one.
fn split_texts(texts: &[String]) -> Result<(Vec<Message>, Vec<String>, bool), Reason> {
    let dialogues: Vec<_> = texts.iter().map(|text| dialogue::parse(text)).collect();
    let dialogues: Vec<_> = dialogues
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| {
            Reason::new("a text is no published dialogue").hint(
                "dialogues begin with \"\\n\\nHuman:\" or \"## Human:\"; plain texts go into \
             `prompt`, `chosen` and `rejected` and need no import",
            )
        })?;
    let first = &dialogues[0];
    let mut shared = first.len();
    for other in &dialogues[1..] {
        let same = first.iter().zip(other).take_while(|(a, b)| a == b);
        shared = shared.min(same.count());
    }
    // The prompt ends with the user: a reply all share is a response all give.
    while shared > 0 && first[shared - 1].role != "user" {
        shared -= 1;
    }
    if shared == 0 {
        return Err(Reason::new(
            "the responses share no prompt: they part in the first message",
        ));
    }
    let mut responses = Vec::new();
    for (text, dialogue) in texts.iter().zip(&dialogues) {
        match dialogue.get(shared) {
            Some(reply) if reply.role == "assistant" && !reply.content.trim().is_empty() => {
                responses.push(text[dialogue::content_start(text, shared)..].to_owned());
            }
            _ => return Err(Reason::new("a response is empty")),
        }
    }
    let longer = dialogues.iter().any(|d| d.len() > shared + 1);
    Ok((first[..shared].to_vec(), responses, longer))
}
