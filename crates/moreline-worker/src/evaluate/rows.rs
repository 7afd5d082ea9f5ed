//! Preference sets as a reward model reads them for evaluation.

use moreline_formats::rows::{check_preferences, read_preferences};
use moreline_protocol::job::Input;
use moreline_protocol::rows::FedRow;
use moreline_protocol::spec::Pairs;
use moreline_text::Tokenizer;

use crate::batch::Group;
use crate::error::WorkerError;
use crate::parallel;
use crate::stage::context::Context;
use crate::text::{RewardText, Texts};
use crate::train::FED_ROWS;

/// One row of a set with its sequences.
#[derive(Debug)]
pub(crate) struct Row {
    /// The set's name.
    pub set: String,
    /// Row within the set.
    pub row: usize,
    /// Scores of the responses.
    pub scores: Vec<f64>,
    /// The responses.
    pub group: Group,
}

/// How rows become sequences. Every response gets one: none is dropped.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// How its texts are made and cut.
    pub text: &'a RewardText,
    /// Pairs taken from rows of more than two responses.
    pub pairs: Pairs,
}

impl Reader<'_> {
    /// The rows of a set; its first texts are added to `fed`.
    ///
    /// # Errors
    /// Unreadable rows.
    pub(crate) fn read(
        &self,
        context: &Context<'_>,
        input: &Input,
        fed: &mut Vec<FedRow>,
    ) -> Result<Vec<Row>, WorkerError> {
        let texts = Texts::new(self.tokenizer, self.text.template);
        let read = read_preferences(&input.path, context.rows(input))?;
        check_preferences(&input.path, &read)?;
        let mut rows = Vec::with_capacity(read.len());
        let made = parallel::map(&read, |row| texts.preference(row, self.pairs));
        for (index, made) in made.into_iter().enumerate() {
            let (sequences, scores) = made?;
            let mut kept = Vec::with_capacity(sequences.len());
            for (response, tokens) in sequences.into_iter().enumerate() {
                let sequence = self.text.fit(self.tokenizer, tokens);
                if (index as u64) < FED_ROWS {
                    fed.push(sequence.fed(self.tokenizer, &input.name, index, Some(response))?);
                }
                kept.push(sequence.tokens);
            }
            rows.push(Row {
                set: input.name.clone(),
                row: index,
                scores,
                group: Group::share(&kept),
            });
        }
        Ok(rows)
    }
}
