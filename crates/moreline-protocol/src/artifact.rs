//! The kinds of things that flow along the edges of an experiment.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::spec::{Lora, StageKind, StageSpec};

/// What a reference in a stage may point at, and what a stage gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactType {
    /// A causal language model: a Hugging Face directory or a `.gguf` file.
    LanguageModel,
    /// A reward model: a Hugging Face directory with `score.weight`.
    RewardModel,
    /// A preference set: rows of responses with scores.
    Preferences,
    /// Prompts, each with an optional reference answer.
    Prompts,
    /// Sampled responses: [`crate::rows::ResponseRow`] as JSON Lines.
    Responses,
    /// Sampled responses with a score each: the same rows, `score` filled in.
    ScoredResponses,
    /// Prompt and response to imitate: [`crate::rows::ExampleRow`] as JSON Lines.
    Examples,
    /// Records for people and reports; no stage takes them.
    Records,
}

impl ArtifactType {
    /// The name used in messages, for example `reward model`.
    pub fn describe(self) -> &'static str {
        match self {
            Self::LanguageModel => "language model",
            Self::RewardModel => "reward model",
            Self::Preferences => "preference set",
            Self::Prompts => "prompt set",
            Self::Responses => "responses",
            Self::ScoredResponses => "scored responses",
            Self::Examples => "examples",
            Self::Records => "records",
        }
    }
}

/// One output of a stage: the entry of its output directory and its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputDecl {
    /// Name of the file or directory inside the stage's output directory, and
    /// of the output itself.
    pub name: &'static str,
    /// What it holds.
    pub artifact: ArtifactType,
}

/// An output as one refers to it: one that every stage of the kind gives, or
/// the model of a training after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputName {
    /// One of [`outputs`].
    Declared(&'static str),
    /// `model@step-N`: see `save_every`.
    Step(u64),
}

impl OutputName {
    /// The output of that name, if it is that of an intermediate model.
    pub fn parse_step(name: &str) -> Option<Self> {
        let digits = name.strip_prefix(MODEL)?.strip_prefix(STEP)?;
        Some(Self::Step(parse_step(digits)?))
    }

    /// The declared output it is, or is an earlier state of.
    pub fn declared(self) -> &'static str {
        match self {
            Self::Declared(name) => name,
            Self::Step(_) => MODEL,
        }
    }
}

impl fmt::Display for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared(name) => f.write_str(name),
            Self::Step(step) => write!(f, "{MODEL}{STEP}{step}"),
        }
    }
}

/// What stands between a stage's name and the step of an intermediate model.
pub const STEP: &str = "@step-";

/// A reference without what names an intermediate model, and the step:
/// `rm@step-50` is (`rm`, `Some(50)`). Nothing if what follows an `@` is no
/// step from 1 on.
pub fn split_step(reference: &str) -> Option<(&str, Option<u64>)> {
    let Some(at) = reference.find('@') else {
        return Some((reference, None));
    };
    let (name, rest) = reference.split_at(at);
    let step = parse_step(rest.strip_prefix(STEP)?)?;
    Some((name, Some(step)))
}

/// A step as it is written: digits alone, no zero in front.
fn parse_step(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

/// One role of a stage: a field that holds one or several references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleDecl {
    /// The field's name in the experiment file.
    pub field: &'static str,
    /// The artifact types it takes.
    pub accepts: &'static [ArtifactType],
}

/// The directory of a trained model inside a stage's output.
pub const MODEL: &str = "model";
/// The directory of a PEFT adapter inside a training stage's output.
pub const ADAPTER: &str = "adapter";
/// Training history: one [`crate::rows::HistoryRow`] per optimiser step.
pub const HISTORY: &str = "history.jsonl";
/// Text really fed to the model: a few [`crate::rows::FedRow`]s per input.
pub const FED: &str = "fed.jsonl";
/// Per-record results.
pub const RECORDS: &str = "records.jsonl";
/// Sampled (and scored) responses.
pub const RESPONSES: &str = "responses.jsonl";
/// Selected or imported examples.
pub const EXAMPLES: &str = "examples.jsonl";
/// Selected or imported preference pairs.
pub const PAIRS: &str = "pairs.jsonl";
/// Judge verdicts: [`crate::rows::VerdictRow`] per prompt.
pub const VERDICTS: &str = "verdicts.jsonl";
/// Rewards an embedded judge gave: [`crate::rows::JudgedRow`] per prompt.
/// Written by the worker, turned into [`VERDICTS`] by the engine.
pub const JUDGED: &str = "judged.jsonl";

use ArtifactType as A;

fn saves_adapter(lora: Option<&Lora>) -> bool {
    lora.is_some_and(|lora| lora.save_adapter)
}

macro_rules! outputs {
    ($($name:expr => $artifact:expr),* $(,)?) => {
        &[$(OutputDecl { name: $name, artifact: $artifact }),*]
    };
}

/// The outputs of a stage, the main one first.
pub fn outputs(spec: &StageSpec) -> &'static [OutputDecl] {
    match spec {
        StageSpec::TrainReward(spec) if saves_adapter(spec.lora.as_ref()) => outputs!(
            MODEL => A::RewardModel, HISTORY => A::Records, FED => A::Records,
            ADAPTER => A::Records,
        ),
        StageSpec::TrainReward(_) => {
            outputs!(MODEL => A::RewardModel, HISTORY => A::Records, FED => A::Records)
        }
        StageSpec::Sft(spec) if saves_adapter(spec.lora.as_ref()) => outputs!(
            MODEL => A::LanguageModel, HISTORY => A::Records, FED => A::Records,
            ADAPTER => A::Records,
        ),
        StageSpec::Sft(_) => {
            outputs!(MODEL => A::LanguageModel, HISTORY => A::Records, FED => A::Records)
        }
        StageSpec::EvaluateReward(_) | StageSpec::Perplexity(_) => {
            outputs!(RECORDS => A::Records, FED => A::Records)
        }
        StageSpec::Generate(_) => outputs!(RESPONSES => A::Responses, FED => A::Records),
        StageSpec::Score(_) => outputs!(RESPONSES => A::ScoredResponses, FED => A::Records),
        StageSpec::Select(select) if select.strategy.makes_pairs() => {
            outputs!(PAIRS => A::Preferences)
        }
        StageSpec::Select(_) => outputs!(EXAMPLES => A::Examples),
        StageSpec::Judge(_) => outputs!(VERDICTS => A::Records),
        StageSpec::Import(_) => outputs!(PAIRS => A::Preferences),
    }
}

/// The reference fields of a kind of stage, in the order their inputs are keyed.
pub fn roles(kind: StageKind) -> &'static [RoleDecl] {
    macro_rules! roles {
        ($($field:literal: $($accepts:ident)|+),* $(,)?) => {
            &[$(RoleDecl { field: $field, accepts: &[$(A::$accepts),+] }),*]
        };
    }
    match kind {
        StageKind::TrainReward => roles!(
            "model": LanguageModel,
            "data": Preferences,
            "evaluate_on": Preferences,
        ),
        StageKind::EvaluateReward => roles!("model": RewardModel, "data": Preferences),
        StageKind::Generate => roles!("model": LanguageModel, "prompts": Prompts),
        StageKind::Score => {
            roles!("model": RewardModel, "responses": Responses | ScoredResponses)
        }
        StageKind::Select => roles!("responses": ScoredResponses),
        StageKind::Sft => roles!(
            "model": LanguageModel,
            "data": Examples | Prompts,
            "evaluate_on": Examples | Prompts,
        ),
        StageKind::Perplexity => roles!("model": LanguageModel, "data": Prompts | Examples),
        StageKind::Judge => roles!(
            "a": Responses | ScoredResponses,
            "b": Responses | ScoredResponses,
            "model": RewardModel,
        ),
        StageKind::Import => roles!("data": Preferences),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_split_from_its_stage() {
        assert_eq!(split_step("rm"), Some(("rm", None)));
        assert_eq!(split_step("rm:more@step-50"), Some(("rm:more", Some(50))));
        for bad in [
            "rm@",
            "rm@50",
            "rm@step-",
            "rm@step-0",
            "rm@step-05",
            "rm@step-5x",
            "rm@step-+5",
        ] {
            assert_eq!(split_step(bad), None, "{bad}");
        }
    }

    #[test]
    fn output_names_go_to_text_and_back() {
        let step = OutputName::Step(1000);
        assert_eq!(step.to_string(), "model@step-1000");
        assert_eq!(OutputName::parse_step("model@step-1000"), Some(step));
        assert_eq!(OutputName::parse_step("model"), None);
        assert_eq!(OutputName::parse_step("history.jsonl"), None);
    }
}
