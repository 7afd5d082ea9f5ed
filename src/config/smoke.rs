//! `--smoke`: a rehearsal of the whole experiment in seconds to minutes.
//!
//! Everything that decides how long a stage takes is cut, in this one place:
//!
//! * every `data`, `prompts` and `responses` set to its first 8 rows (after its `offset`),
//! * trainings to 2 optimiser steps, evaluated after each; `save_every` becomes 1,
//!   and whoever takes the model after a later step takes that after the first,
//! * `generate` to 8 new tokens and 2 samples per prompt.
//!
//! The cut settings are part of the stages' keys like any others, so a
//! rehearsal never meets the results of the real run.

use moreline_protocol::artifact::{STEP, split_step};
use moreline_protocol::spec::StageSpec;

use super::experiment::Experiment;

const ROWS: u64 = 8;
const STEPS: u64 = 2;
const NEW_TOKENS: u32 = 8;
const SAMPLES: u32 = 2;

/// Cuts an experiment down.
pub(super) fn cut(experiment: &mut Experiment) {
    experiment.smoke = true;
    let sets = experiment.data.values_mut();
    let sets = sets.chain(experiment.prompts.values_mut());
    for set in sets.chain(experiment.responses.values_mut()) {
        set.rows = set.rows.capped(Some(ROWS));
    }
    for stage in &mut experiment.stages {
        match &mut stage.spec {
            StageSpec::TrainReward(train) => {
                train.steps = Some(steps(train.steps));
                train.save_every = train.save_every.map(|_| 1);
                train.evaluate_every = train.evaluate_every.map(|_| 1);
            }
            StageSpec::Sft(sft) => {
                sft.steps = Some(steps(sft.steps));
                sft.save_every = sft.save_every.map(|_| 1);
                sft.evaluate_every = sft.evaluate_every.map(|_| 1);
            }
            StageSpec::Generate(generate) => {
                generate.max_new_tokens = generate.max_new_tokens.min(NEW_TOKENS);
                generate.samples = generate.samples.min(SAMPLES);
            }
            _ => {}
        }
        for model in models(&mut stage.spec) {
            if let Some((name, Some(_))) = split_step(model) {
                *model = format!("{name}{STEP}1");
            }
        }
    }
}

/// The references to the models a stage takes.
fn models(spec: &mut StageSpec) -> &mut [String] {
    use std::slice::from_mut;
    match spec {
        StageSpec::TrainReward(spec) => from_mut(&mut spec.model),
        StageSpec::EvaluateReward(spec) => spec.model.names_mut(),
        StageSpec::Generate(spec) => from_mut(&mut spec.model),
        StageSpec::Score(spec) => spec.model.names_mut(),
        StageSpec::Sft(spec) => from_mut(&mut spec.model),
        StageSpec::Perplexity(spec) => from_mut(&mut spec.model),
        StageSpec::Judge(spec) => spec.model.as_mut().map(from_mut).unwrap_or_default(),
        StageSpec::Select(_) | StageSpec::Import(_) => &mut [],
    }
}

fn steps(own: Option<u64>) -> u64 {
    own.map_or(STEPS, |steps| steps.min(STEPS))
}
