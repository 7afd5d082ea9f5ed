//! Generation against the greedy continuations of transformers
//! (`tests/golden/README.md`), and against itself in other company.

use moreline_formats::{HostData, WeightStore};
use moreline_protocol::rows::Finish;
use moreline_text::{Framing, Specials, Tokenizer};
use moreline_worker::batch::{Group, Packed};
use moreline_worker::generate::sampler::Sampling;
use moreline_worker::generate::tokens::{Continuation, continue_prompts};
use moreline_worker::generate::{PromptTokens, Settings, check, chunks, generate_chunk};
use moreline_worker::model::{Head, LoadedModel};
use moreline_worker::network;
use tch::{Kind, no_grad};

use crate::common::{device, golden_dir, smollm2};
use crate::golden_models::MODELS;

fn open(model: &str) -> LoadedModel {
    let path = golden_dir().join("models").join(model);
    LoadedModel::open(&path, Head::Language, Kind::Float, device()).unwrap()
}

fn greedy(max_new_tokens: usize) -> Settings {
    Settings {
        samples: 1,
        max_new_tokens,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        seed: 0,
    }
}

fn sampled(samples: usize, max_new_tokens: usize) -> Settings {
    let sampling = Sampling {
        temperature: 0.9,
        top_p: 0.95,
        top_k: 100,
    };
    Settings {
        samples,
        sampling,
        seed: 11,
        ..greedy(max_new_tokens)
    }
}

/// Continues to the limit, but row r ends after `limits(r)` tokens.
fn continued(
    model: &LoadedModel,
    prompts: &[PromptTokens],
    settings: &Settings,
    limits: &dyn Fn(usize) -> usize,
) -> Vec<Continuation> {
    let mut counts = vec![0; prompts.len() * settings.samples];
    let mut ended = |row: usize, _| {
        counts[row] += 1;
        Ok(counts[row] == limits(row))
    };
    let mut told = 0;
    let mut on_tokens = |tokens| told += tokens;
    let done = continue_prompts(model, prompts, settings, &mut ended, &mut on_tokens).unwrap();
    assert_eq!(
        told,
        done.iter().map(|c| c.tokens.len() as u64).sum::<u64>()
    );
    done
}

const NO_LIMIT: &dyn Fn(usize) -> usize = &|_| usize::MAX;

/// Prompts of these lengths, the tokens of each its own.
fn prompts(lengths: &[usize]) -> Vec<PromptTokens> {
    let prompt = |(i, &n): (usize, &usize)| -> Vec<u32> {
        (0..n)
            .map(|j| (3 + (i * 131 + j * 37 + j * j * 5) % 300) as u32)
            .collect()
    };
    PromptTokens::of_set(lengths.iter().enumerate().map(prompt).collect())
}

/// The log-probability of a continuation from one pass over all of it.
fn logprob_at_once(model: &LoadedModel, prompt: &[u32], continuation: &[u32]) -> f64 {
    let (decoder, flats) = (&model.decoder, &model.flats);
    let all = [prompt, continuation].concat();
    let group = Group::unshared(std::slice::from_ref(&all));
    let packed = Packed::new([&group], &decoder.config, model.kind(), model.device);
    no_grad(|| {
        let x = network::hidden(decoder, flats, &packed);
        let x = decoder.norm(&flats[decoder.norm_index()], &x);
        let logits = x.matmul(&decoder.head_matrix(&flats[decoder.head_index()]).tr());
        let logprobs = logits.log_softmax(-1, Kind::Double);
        let value = |i: usize| logprobs.double_value(&[i as i64 - 1, i64::from(all[i])]);
        (prompt.len()..all.len()).map(value).sum()
    })
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    for name in MODELS {
        let path = golden_dir()
            .join("models")
            .join(name)
            .join("golden.safetensors");
        let HostData::I64(golden) = WeightStore::open(&path)
            .unwrap()
            .read("greedy")
            .unwrap()
            .data
        else {
            panic!("token ids are int64");
        };
        let golden: Vec<u32> = golden.into_iter().map(|id| id as u32).collect();
        let (prompt, expected) = golden.split_at(20);
        assert_eq!(expected.len(), 24);
        let model = open(name);
        let prompts = PromptTokens::of_set(vec![prompt.to_vec()]);
        let done = continued(&model, &prompts, &greedy(24), NO_LIMIT);
        assert_eq!(done[0].tokens, expected, "{name}");
        let logprob = logprob_at_once(&model, prompt, expected);
        assert!((done[0].logprob - logprob).abs() < 1e-3, "{name}");
    }
}

#[test]
fn greedy_tokens_of_smollm2_are_those_of_transformers() {
    let text = std::fs::read_to_string(golden_dir().join("smollm2.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ids = |value: &serde_json::Value| -> Vec<u32> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as u32)
            .collect()
    };
    let rows = golden["rows"].as_array().unwrap();
    let tokenizer = Tokenizer::load(&smollm2()).unwrap();
    let space = tokenizer.encode(" ", Specials::Plain).unwrap();
    // `ids` are those of prompt and answer. A prompt of less than 200 tokens
    // was continued whole, from its last space, which there is a part of the
    // answer's first word.
    let prompt = |row: &serde_json::Value| {
        let from = row["greedy_from"].as_u64().unwrap() as usize;
        let ids = ids(&row["ids"]);
        if from == 200 {
            ids[..from].to_vec()
        } else {
            [&ids[..from - 1], &space].concat()
        }
    };
    let model = LoadedModel::open(&smollm2(), Head::Language, Kind::Float, device()).unwrap();
    let prompts = PromptTokens::of_set(rows.iter().map(prompt).collect());
    let done = continued(&model, &prompts, &greedy(16), NO_LIMIT);
    for (continuation, row) in done.iter().zip(rows) {
        assert_eq!(
            continuation.tokens,
            ids(&row["greedy16"]),
            "{}",
            row["prompt"]
        );
    }
}

#[test]
fn rows_do_not_depend_on_their_company() {
    for name in ["llama-gqa-tied", "qwen2-bias", "pythia-parallel"] {
        let model = open(name);
        let prompts = prompts(&[40, 1, 100, 7, 57, 7]);
        let settings = sampled(3, 20);
        // Rows end at different steps, so that most are compacted away.
        let limits = |row: usize| 1 + row * 7 % 25;
        let together = continued(&model, &prompts, &settings, &limits);
        for (p, prompt) in prompts.iter().enumerate() {
            let own = |row: usize| limits(3 * p + row);
            let alone = continued(&model, std::slice::from_ref(prompt), &settings, &own);
            for (s, alone) in alone.iter().enumerate() {
                let together = &together[3 * p + s];
                assert_eq!(
                    alone.tokens, together.tokens,
                    "{name}, prompt {p}, sample {s}"
                );
                assert_eq!(alone.ended, together.ended);
                assert!((alone.logprob - together.logprob).abs() < 1e-3);
                let at_once = logprob_at_once(&model, &prompt.tokens, &alone.tokens);
                assert!((alone.logprob - at_once).abs() < 1e-3);
            }
        }
    }
}

#[test]
fn short_prompts_beside_very_long_ones_stay_themselves() {
    let model = open("llama-gqa-tied");
    let prompts = prompts(&[5, 1500]);
    let settings = sampled(2, 12);
    let together = continued(&model, &prompts, &settings, NO_LIMIT);
    let alone = continued(&model, &prompts[..1], &settings, NO_LIMIT);
    assert_eq!(
        together[..2].iter().map(|c| &c.tokens).collect::<Vec<_>>(),
        alone.iter().map(|c| &c.tokens).collect::<Vec<_>>()
    );
    assert!(
        together
            .iter()
            .all(|c| c.logprob.is_finite() && c.tokens.len() == 12)
    );
}

#[test]
fn more_samples_than_rows_at_once_take_several_passes() {
    let model = open("llama-gqa-tied");
    let prompts = prompts(&[9]);
    let many = continued(&model, &prompts, &sampled(70, 4), NO_LIMIT);
    let few = continued(&model, &prompts, &sampled(3, 4), NO_LIMIT);
    assert_eq!(many.len(), 70);
    assert_eq!(
        many[..3].iter().map(|c| &c.tokens).collect::<Vec<_>>(),
        few.iter().map(|c| &c.tokens).collect::<Vec<_>>()
    );
    assert!(
        many.iter().any(|c| c.tokens != many[0].tokens),
        "samples differ"
    );
}

#[test]
fn logits_that_are_not_numbers_are_an_error() {
    let mut model = open("llama-gqa-tied");
    let norm = model.decoder.norm_index();
    model.flats[norm] = &model.flats[norm] * f64::NAN;
    let done = continue_prompts(
        &model,
        &prompts(&[4]),
        &greedy(3),
        &mut |_, _| Ok(false),
        &mut |_| {},
    );
    let message = done.unwrap_err().to_string();
    assert_eq!(
        message,
        "generate for prompt 0 (from 0): the model's logits are not numbers"
    );
}

#[test]
fn prompts_that_cannot_be_continued_are_refused() {
    let config = open("llama-gqa-tied").decoder.config;
    let refused = |lengths: &[usize]| {
        check(&prompts(lengths), &greedy(56), &config)
            .unwrap_err()
            .to_string()
    };
    check(&prompts(&[200]), &greedy(56), &config).unwrap();
    let message = refused(&[200, 201]);
    assert!(
        message.contains("prompt 1 (from 0): over-long prompt"),
        "{message}"
    );
    assert!(
        message.contains("201") && message.contains("56") && message.contains("256"),
        "{message}"
    );
    assert!(refused(&[3, 0]).contains("prompt 1 (from 0): it has no tokens"));
    let beyond = PromptTokens::of_set(vec![vec![1, 320]]);
    let message = check(&beyond, &greedy(5), &config).unwrap_err().to_string();
    assert!(
        message.contains("token id 320") && message.contains("320 embeddings"),
        "{message}"
    );
}

const CAPITAL: &str = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n\
    <|im_start|>assistant\n";
const COUNTING: &str = "One, two, three, four, five, six, seven,";

#[test]
fn responses_end_at_tokens_strings_and_the_limit() {
    let model = LoadedModel::open(&smollm2(), Head::Language, Kind::Float, device()).unwrap();
    let tokenizer = Tokenizer::load(&smollm2()).unwrap();
    let encode = |text| {
        tokenizer
            .encode_framed(text, Specials::Parse, Framing::PROMPT)
            .unwrap()
    };
    let prompts = PromptTokens::of_set(vec![encode(CAPITAL), encode(COUNTING)]);
    assert_eq!(chunks(&prompts, 1).len(), 1);
    let run = |settings: &Settings| {
        let rows = generate_chunk(&model, &tokenizer, &prompts, settings, &mut |_| {}).unwrap();
        assert!(rows.iter().all(|row| row.len() == 1));
        rows.concat()
    };

    let plain = run(&greedy(24));
    assert_eq!(plain[0].finish, Finish::Stop);
    assert!(plain[0].text.contains("Paris") && !plain[0].text.contains("<|im_end|>"));
    assert!(plain[0].tokens < 24);
    assert_eq!((plain[1].finish, plain[1].tokens), (Finish::Length, 24));
    assert!(
        plain[1].text.starts_with(" eight, and nine,"),
        "{}",
        plain[1].text
    );
    assert!(plain.iter().all(|r| r.logprob.is_some_and(|l| l < 0.0)));

    let stop = vec!["ne,".to_string(), " capital".to_string()];
    let cut = run(&Settings { stop, ..greedy(24) });
    assert_eq!(cut[1].text, " eight, and ni");
    assert_eq!(cut[1].finish, Finish::Stop);
    assert!(cut[1].tokens < 24);
    assert_eq!(cut[0].text, plain[0].text.split(" capital").next().unwrap());
}
