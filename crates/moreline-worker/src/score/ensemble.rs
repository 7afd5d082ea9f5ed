//! A stage's reward models, one or several, and what they say together.

use moreline_protocol::artifact;
use moreline_protocol::job::Input;
use moreline_protocol::spec::{Combine, Precision};
use moreline_stats::ensemble;

use super::{RewardModel, score_groups};
use crate::batch::Group;
use crate::error::WorkerError;
use crate::stage::context::Context;
use crate::stage::journal;

/// Rewards of rows of responses.
pub(crate) type Rewards = Vec<Vec<f64>>;

/// One of a stage's reward models, open.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// The model.
    pub model: RewardModel,
    /// The only one has a plain journal, each of several its own.
    journal: String,
    phase: String,
}

/// Opens the stage's reward models one after the other: each is closed before the next is
/// opened, if it is dropped before the next is asked for.
pub(crate) fn members<'a>(
    context: &'a Context<'_>,
    precision: Precision,
) -> impl Iterator<Item = Result<Member<'a>, WorkerError>> {
    let inputs: Vec<&Input> = context.job.inputs_of(artifact::MODEL).collect();
    let alone = inputs.len() == 1;
    inputs.into_iter().enumerate().map(move |(index, input)| {
        let (device, budget) = (context.device, context.token_budget());
        let (journal, phase) = match alone {
            true => (journal::FILE.to_owned(), "scoring".to_owned()),
            false => (
                format!("journal-{index}.jsonl"),
                format!("scoring with {}", input.name),
            ),
        };
        Ok(Member {
            name: &input.name,
            model: RewardModel::open(&input.path, precision, device, budget)?,
            journal,
            phase,
        })
    })
}

impl Member<'_> {
    /// The rewards of all groups, from the journal as far as they are there.
    ///
    /// # Errors
    /// As [`RewardModel::rewards`]; the system's.
    pub(crate) fn score(
        &self,
        context: &Context<'_>,
        groups: &[Group],
    ) -> Result<Rewards, WorkerError> {
        score_groups(context, &self.model, groups, (&self.journal, &self.phase))
    }
}

/// Makes one reward of each model's, response by response. Z-scores are over the rows given.
///
/// # Errors
/// Rewards that cannot be standardised.
pub(crate) fn combine(models: &[&[Vec<f64>]], how: Combine) -> Result<Rewards, WorkerError> {
    let Some(first) = models.first() else {
        return Ok(Rewards::new());
    };
    let flat: Vec<Vec<f64>> = models.iter().map(|rows| rows.concat()).collect();
    let combined = match how {
        Combine::Mean => ensemble::mean(&flat),
        Combine::Min => ensemble::minimum(&flat),
        Combine::StandardisedMean => ensemble::standardised_mean(&flat),
    };
    let mut rest = combined
        .map_err(|e| {
            WorkerError::input(
                format!("combine the rewards of {} models: {e}", models.len()),
                "use combine = \"mean\", or give more responses",
            )
        })?
        .into_iter();
    let row = |row: &Vec<f64>| rest.by_ref().take(row.len()).collect();
    Ok(first.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_responses() {
        let a = [vec![1.0, 3.0], vec![5.0]];
        let b = [vec![20.0, 0.0], vec![10.0]];
        let found = |how| combine(&[&a, &b], how).unwrap();
        assert_eq!(found(Combine::Mean), [vec![10.5, 1.5], vec![7.5]]);
        assert_eq!(found(Combine::Min), [vec![1.0, 0.0], vec![5.0]]);
        assert_eq!(
            found(Combine::StandardisedMean),
            [vec![0.0, -0.5], vec![0.5]]
        );
        let constant = [vec![1.0, 1.0], vec![1.0]];
        let error = combine(&[&a, &constant], Combine::StandardisedMean).unwrap_err();
        assert!(error.to_string().contains("the same reward"), "{error}");
    }
}
