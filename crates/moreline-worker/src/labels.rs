//! Examples as sequences whose tokens are to be predicted.

use std::collections::BTreeMap;

use moreline_formats::rows::{read_examples, read_prompts};
use moreline_protocol::artifact::ArtifactType;
use moreline_protocol::job::Input;
use moreline_protocol::rows::{ExampleRow, FedRow};
use moreline_protocol::spec::{CountedTokens, Template, Truncation};
use moreline_text::Tokenizer;
use tch::{Device, Tensor};

use crate::batch::{Group, Packed};
use crate::error::WorkerError;
use crate::parallel;
use crate::stage::context::Context;
use crate::text::{Ends, Example, Sequence, Texts, lost, truncate};
use crate::train::FED_ROWS;

/// Why rows are left out.
const REASONS: [&str; 4] = [
    "without_answer",
    "too_long",
    "without_prompt",
    "without_response",
];

/// One example, tokenised.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// Which input it came from.
    pub set: usize,
    /// Row within the input.
    pub row: usize,
    /// The sequence.
    pub group: Group,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// First token whose prediction counts, at least 1.
    pub first: usize,
}

impl Labelled {
    /// Number of predictions that count.
    pub fn count(&self) -> usize {
        self.tokens.len() - self.first
    }
}

/// All examples of a stage.
#[derive(Debug, Default)]
pub struct Examples {
    /// Names of the inputs.
    pub names: Vec<String>,
    /// The examples, input after input.
    pub rows: Vec<Labelled>,
    /// The first texts of each input, as fed.
    pub fed: Vec<FedRow>,
    /// Rows left out, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Rows that were cut.
    pub truncated: u64,
}

/// How examples become sequences.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How prompt and response become a text.
    pub template: Template,
    /// Which predictions count.
    pub count: CountedTokens,
    /// Longest text in tokens.
    pub max_length: usize,
    /// What happens to longer ones.
    pub truncation: Truncation,
}

/// Reads every `data` input.
///
/// # Errors
/// Unreadable rows, prompts without answers, nothing left to predict.
pub fn read(
    context: &Context<'_>,
    tokenizer: &Tokenizer,
    shape: Shape,
) -> Result<Examples, WorkerError> {
    read_inputs(context, tokenizer, shape, "data")
}

/// Reads every input of a role.
///
/// # Errors
/// As [`read`].
pub fn read_inputs(
    context: &Context<'_>,
    tokenizer: &Tokenizer,
    shape: Shape,
    role: &str,
) -> Result<Examples, WorkerError> {
    let mut examples = Examples::default();
    for reason in REASONS {
        examples.dropped.insert(reason, 0);
    }
    let texts = Texts::new(tokenizer, shape.template);
    for (set, input) in context.job.inputs_of(role).enumerate() {
        examples.names.push(input.name.clone());
        let (rows, unanswered) = example_rows(context, input)?;
        *examples.dropped.entry("without_answer").or_default() += unanswered;
        let mut shown = 0;
        let made = parallel::map(&rows, |(_, row)| texts.example(&row.prompt, &row.response));
        for ((row, _), made) in rows.into_iter().zip(made) {
            let (cut, first) = match fit(made?, shape, Ends::of(tokenizer)) {
                Ok(fitted) => fitted,
                Err(reason) => {
                    *examples.dropped.entry(reason).or_default() += 1;
                    continue;
                }
            };
            examples.truncated += u64::from(cut.truncated > 0);
            if shown < FED_ROWS {
                shown += 1;
                examples
                    .fed
                    .push(cut.fed(tokenizer, &input.name, row, None)?);
            }
            let group = Group::share(std::slice::from_ref(&cut.tokens));
            examples.rows.push(Labelled {
                set,
                row,
                group,
                tokens: cut.tokens,
                first,
            });
        }
    }
    if examples.rows.is_empty() {
        return Err(WorkerError::input(
            format!(
                "use {}: no example has a token to predict",
                examples.names.join(", ")
            ),
            "raise `max_length`, or give rows with a response",
        ));
    }
    Ok(examples)
}

/// An example cut to length and the first token whose prediction counts, or why
/// it is left out.
fn fit(made: Example, shape: Shape, ends: Ends) -> Result<(Sequence, usize), &'static str> {
    let whole = made.tokens.len();
    let mut cut =
        truncate(made.tokens, shape.max_length, shape.truncation, ends).ok_or("too_long")?;
    // A text that was cut does not end there: that is not to be learnt.
    if shape.truncation == Truncation::Right
        && cut.truncated > 0
        && ends.eos.is_some()
        && cut.tokens.last().copied() == ends.eos
    {
        cut.tokens.pop();
    }
    if let Some(reason) = lost(&cut, made.prompt, shape.truncation, ends) {
        return Err(reason);
    }
    let prompt = match shape.truncation {
        Truncation::Right => made.prompt,
        _ => made.prompt.saturating_sub(whole - cut.tokens.len()),
    };
    let first = match shape.count {
        CountedTokens::All => 1,
        CountedTokens::Response => prompt.max(1),
    };
    if first >= cut.tokens.len() {
        return Err("without_response");
    }
    Ok((cut, first))
}

/// Rows by their index in the set.
type Indexed = Vec<(usize, ExampleRow)>;

/// The examples of an input, and the number of its prompts without an answer.
fn example_rows(context: &Context<'_>, input: &Input) -> Result<(Indexed, u64), WorkerError> {
    let range = context.rows(input);
    if input.artifact == ArtifactType::Examples {
        let rows = read_examples(&input.path, range)?;
        return Ok((rows.into_iter().enumerate().collect(), 0));
    }
    let rows = read_prompts(&input.path, range)?;
    let read = rows.len();
    let answered: Indexed = rows
        .into_iter()
        .enumerate()
        .filter_map(|(index, row)| {
            let example = ExampleRow {
                prompt: row.prompt,
                response: row.answer?,
                score: None,
            };
            Some((index, example))
        })
        .collect();
    if answered.is_empty() {
        return Err(WorkerError::input(
            format!(
                "use `{}` ({}): none of its prompts has an answer",
                input.name,
                input.path.display()
            ),
            "give its rows an `answer`",
        ));
    }
    let unanswered = (read - answered.len()) as u64;
    Ok((answered, unanswered))
}

/// Where a packed batch predicts, and what.
#[derive(Debug)]
pub struct LabelPlan {
    /// Positions whose hidden states predict `[R]`.
    pub index: Tensor,
    /// The tokens that follow them `[R]`.
    pub labels: Tensor,
    /// Predictions per example.
    pub counts: Vec<usize>,
}

impl LabelPlan {
    /// For examples packed in this order, one sequence per group.
    pub fn new(packed: &Packed, examples: &[&Labelled], device: Device) -> Self {
        let (mut index, mut labels) = (Vec::new(), Vec::new());
        for (group, example) in examples.iter().enumerate() {
            for position in example.first..example.tokens.len() {
                index.push(packed.index(group, 0, position - 1));
                labels.push(i64::from(example.tokens[position]));
            }
        }
        Self {
            index: Tensor::from_slice(&index).to_device(device),
            labels: Tensor::from_slice(&labels).to_device(device),
            counts: examples.iter().map(|example| example.count()).collect(),
        }
    }
}
