//! Preference sets, tokenised and ready for training.

use std::collections::BTreeMap;

use moreline_formats::rows::{PreferenceRow, check_preferences, read_preferences};
use moreline_protocol::event::Level;
use moreline_protocol::rows::FedRow;
use moreline_protocol::spec::{Pairs, ScoreScale, Truncation};
use moreline_text::Tokenizer;

use super::step::RewardRow;
use crate::batch::Group;
use crate::batch::group::common_prefix;
use crate::error::WorkerError;
use crate::loss::Ranking;
use crate::parallel;
use crate::stage::context::Context;
use crate::text::{Ends, RewardText, Sequence, Texts, compared, lost, truncate};

/// Rows of each set shown in `fed.jsonl`.
pub(crate) const FED_ROWS: u64 = 2;

/// Rows prepared between two words on progress.
const CHUNK: usize = 256;

/// Why rows are left out.
const REASONS: [&str; 5] = [
    "tied",
    "identical",
    "too_long",
    "without_prompt",
    "without_response",
];

/// All sets of a training.
#[derive(Debug, Default)]
pub(crate) struct RewardSets {
    /// Their names.
    pub names: Vec<String>,
    /// Their usable rows.
    pub rows: Vec<Vec<RewardRow>>,
    /// Rows left out, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Responses that were cut.
    pub truncated: u64,
    /// Responses left out of rows that stay: they lost their prompt or
    /// themselves to truncation, or are another's twin.
    pub responses_left_out: u64,
    /// The first texts of each set, as fed.
    pub fed: Vec<FedRow>,
}

/// How rows become trees with scores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Preparing<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// How its texts are made and cut.
    pub text: &'a RewardText,
    /// Which responses are compared.
    pub pairs: Pairs,
    /// What becomes of the scores.
    pub scale: ScoreScale,
    /// Which pairs of scores count.
    pub ranking: Ranking,
}

impl Preparing<'_> {
    /// Reads every `data` input.
    ///
    /// # Errors
    /// Unreadable rows, a set in which nothing can be learnt.
    pub(crate) fn read_sets(&self, context: &Context<'_>) -> Result<RewardSets, WorkerError> {
        let mut sets = RewardSets::default();
        for reason in REASONS {
            sets.dropped.insert(reason, 0);
        }
        for (task, input) in context.job.inputs_of("data").enumerate() {
            let rows = read_preferences(&input.path, context.rows(input))?;
            check_preferences(&input.path, &rows)?;
            let mut usable = Vec::with_capacity(rows.len());
            let before = sets.dropped.clone();
            for (number, chunk) in rows.chunks(CHUNK).enumerate() {
                let first = number * CHUNK;
                for (offset, made) in parallel::map(chunk, |row| self.prepare(row))
                    .into_iter()
                    .enumerate()
                {
                    match made? {
                        Ok(made) => {
                            sets.count(&made);
                            if ((first + offset) as u64) < FED_ROWS {
                                self.show(&input.name, first + offset, &made, &mut sets.fed)?;
                            }
                            usable.push(made.into_row(task));
                        }
                        Err(reason) => *sets.dropped.entry(reason).or_default() += 1,
                    }
                }
                let done = first + chunk.len();
                context
                    .events
                    .progress("tokenising", done, rows.len(), "rows");
            }
            if usable.is_empty() {
                return Err(WorkerError::input(
                    format!(
                        "train on `{}`: none of its {} rows can be used: {}",
                        input.name,
                        rows.len(),
                        reasons(&sets.dropped, &before)
                    ),
                    "raise `max_length`, or give rows whose responses differ in text and score",
                ));
            }
            sets.names.push(input.name.clone());
            sets.rows.push(usable);
        }
        let left_out: u64 = sets.dropped.values().sum();
        if left_out > 0 {
            let counts = reasons(&sets.dropped, &BTreeMap::new());
            context
                .events
                .log(Level::Info, format!("{left_out} rows left out: {counts}"));
        }
        Ok(sets)
    }

    /// A row as training takes it, or why it is left out.
    fn prepare(&self, row: &PreferenceRow) -> Result<Result<Fitted, &'static str>, WorkerError> {
        let chosen = compared(&row.scores, self.pairs).into_iter();
        let scores = scaled(chosen.map(|i| row.scores[i]).collect(), self.scale);
        if self.ranking.pairs(&scores) == 0 {
            return Ok(Err("tied"));
        }
        let texts = Texts::new(self.tokenizer, self.text.template);
        let (sequences, _) = texts.preference(row, self.pairs)?;
        let ends = Ends::of(self.tokenizer);
        Ok(fit(self.text, &self.ranking, (sequences, &scores), ends))
    }

    /// Adds the texts of a row to `fed`.
    fn show(
        &self,
        set: &str,
        row: usize,
        made: &Fitted,
        fed: &mut Vec<FedRow>,
    ) -> Result<(), WorkerError> {
        for (response, sequence) in made.sequences.iter().enumerate() {
            fed.push(sequence.fed(self.tokenizer, set, row, Some(response))?);
        }
        Ok(())
    }
}

impl RewardSets {
    /// Counts what became of a row's responses.
    fn count(&mut self, made: &Fitted) {
        self.responses_left_out += made.left_out;
        let cut = made.sequences.iter().filter(|s| s.truncated > 0);
        self.truncated += cut.count() as u64;
    }
}

impl Fitted {
    fn into_row(self, task: usize) -> RewardRow {
        let kept: Vec<Vec<u32>> = self.sequences.into_iter().map(|s| s.tokens).collect();
        RewardRow {
            task,
            group: Group::share(&kept),
            scores: self.scores,
            prompts: self.prompts,
        }
    }
}

/// How many rows were left out since `before`, and why.
fn reasons(dropped: &BTreeMap<&str, u64>, before: &BTreeMap<&str, u64>) -> String {
    let counts = dropped.iter().filter_map(|(why, n)| {
        let new = n - before.get(why).unwrap_or(&0);
        (new > 0).then(|| format!("{new} {}", why.replace('_', " ")))
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// Responses that fit, and their scores.
#[derive(Debug, Default)]
struct Fitted {
    sequences: Vec<Sequence>,
    scores: Vec<f64>,
    /// Tokens of the prompt that are left in each.
    prompts: Vec<usize>,
    /// Responses that do not fit.
    left_out: u64,
}

/// Cuts the responses of a row to length. Those that lost their prompt (what
/// all responses begin with) or all of themselves are left out, and so is the
/// twin of an earlier one; `Err` says why no pair is left.
fn fit(
    text: &RewardText,
    ranking: &Ranking,
    (sequences, scores): (Vec<Vec<u32>>, &[f64]),
    ends: Ends,
) -> Result<Fitted, &'static str> {
    let prompt = common_prefix(&sequences);
    let all = sequences.len();
    let mut fitted = Fitted::default();
    let mut reason = "identical";
    for (tokens, &score) in sequences.into_iter().zip(scores) {
        let cut = truncate(tokens, text.max_length as usize, text.truncation, ends);
        let cut = cut.ok_or("too_long")?;
        if let Some(why) = lost(&cut, prompt, text.truncation, ends) {
            reason = why;
        } else if fitted
            .sequences
            .iter()
            .all(|other| other.tokens != cut.tokens)
        {
            let lost = match text.truncation {
                Truncation::Right => 0,
                _ => cut.truncated,
            };
            fitted.prompts.push(prompt.saturating_sub(lost));
            fitted.sequences.push(cut);
            fitted.scores.push(score);
        }
    }
    if ranking.pairs(&fitted.scores) == 0 {
        return Err(reason);
    }
    fitted.left_out = (all - fitted.scores.len()) as u64;
    Ok(fitted)
}

/// A row's scores as they are used.
fn scaled(scores: Vec<f64>, scale: ScoreScale) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match scale {
        ScoreScale::Max if largest > 0.0 => {
            let divisor = largest + 1e-5;
            scores.into_iter().map(|score| score / divisor).collect()
        }
        ScoreScale::Max | ScoreScale::None => scores,
    }
}

#[cfg(test)]
mod tests {
    use moreline_protocol::spec::{Pooling, Template};

    use super::*;

    const ENDS: Ends = Ends {
        bos: Some(1),
        eos: Some(2),
    };

    /// Tokens of a prompt of `prompt` and a response of `response` tokens.
    fn made(prompt: u32, response: std::ops::Range<u32>) -> Vec<u32> {
        let prompt = (0..prompt).map(|i| 100 + i);
        let response = response.map(|i| 200 + i);
        let ends = |id| std::iter::once(id);
        ends(1)
            .chain(prompt)
            .chain(response)
            .chain(ends(2))
            .collect()
    }

    fn fitted(how: Truncation, rows: &[(Vec<u32>, f64)]) -> Result<Vec<f64>, &'static str> {
        let text = RewardText {
            pooling: Pooling::Last,
            template: Template::Raw,
            max_length: 10,
            truncation: how,
        };
        let (sequences, scores): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
        let ranking = Ranking::default();
        fit(&text, &ranking, (sequences, &scores), ENDS).map(|fitted| fitted.scores)
    }

    #[test]
    fn rows_that_truncation_spoils_say_why() {
        let long = [(made(4, 0..12), 1.0), (made(4, 20..32), 0.0)];
        assert_eq!(fitted(Truncation::Left, &long), Err("without_prompt"));
        assert_eq!(fitted(Truncation::LeftPublished, &long), Ok(vec![1.0, 0.0]));
        assert_eq!(fitted(Truncation::Right, &long), Ok(vec![1.0, 0.0]));
        assert_eq!(fitted(Truncation::Drop, &long), Err("too_long"));
        let asked = [(made(12, 0..2), 1.0), (made(12, 5..7), 0.0)];
        assert_eq!(fitted(Truncation::Right, &asked), Err("without_response"));
        assert_eq!(fitted(Truncation::Left, &asked), Ok(vec![1.0, 0.0]));
        // They differ only where they are cut.
        let alike = [(made(2, 0..8), 1.0), (made(2, 0..9), 0.0)];
        assert_eq!(fitted(Truncation::Right, &alike), Err("without_response"));
        let twins = [(made(2, 0..3), 1.0), (made(2, 0..3), 0.0)];
        assert_eq!(fitted(Truncation::Right, &twins), Err("identical"));
    }

    #[test]
    fn a_row_keeps_the_responses_that_stand() {
        let rows = [
            (made(4, 0..3), 3.0),
            (made(4, 20..32), 2.0),
            (made(4, 0..3), 1.0),
            (made(4, 40..43), 0.0),
        ];
        assert_eq!(fitted(Truncation::Left, &rows), Ok(vec![3.0, 0.0]));
        assert_eq!(fitted(Truncation::Right, &rows), Ok(vec![3.0, 2.0, 0.0]));
    }

    #[test]
    fn scores_are_divided_by_the_largest_only_where_that_keeps_their_order() {
        assert_eq!(scaled(vec![4.0, -2.0], ScoreScale::None), [4.0, -2.0]);
        let divisor = 4.0 + 1e-5;
        let found = scaled(vec![1.0, 4.0, -2.0], ScoreScale::Max);
        assert_eq!(found, [1.0 / divisor, 4.0 / divisor, -2.0 / divisor]);
        // The published division would make the worse the better here.
        for below in [vec![-1.0, -2.0], vec![0.0, -2.0]] {
            assert_eq!(scaled(below.clone(), ScoreScale::Max), below);
        }
    }
}
