//! A made-up experiment in the form of the demo: five tasks, two methods.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use moreline_protocol::event::Fingerprint;
use moreline_protocol::rows::{
    EvaluationRow, Finish, HistoryRow, Message, Response, ResponseRow, Verdict, VerdictRow,
};
use moreline_protocol::spec::StageSpec;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::input::{ReportInput, ReportStage, RunFacts, StageStatus};

/// Everything a text could try.
pub(super) const HOSTILE: &str = "\"'><script>alert(1)</script><b>&amp; `````\n| # _x_ \u{202e}\0";

pub(super) const SETS: [&str; 5] = ["helpful", "harmless", "honest", "concise", "polite"];
const PROMPTS: u64 = 64;

/// Noise that is the same on every machine: a linear congruential generator
/// (Knuth's MMIX constants), its sums near enough to a bell curve.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }

    fn normal(&mut self) -> f64 {
        let sum: f64 = (0..12).map(|_| self.uniform()).sum();
        ((sum - 6.0) * 1000.0).round() / 1000.0
    }
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// The experiment, its records written below `dir`.
pub(super) fn experiment(dir: &Path) -> ReportInput {
    let mut maker = Maker {
        dir: dir.to_path_buf(),
        stages: Vec::new(),
    };
    maker.reward_models();
    maker.candidates();
    for method in ["uniform", "more"] {
        maker.tuning(method);
    }
    maker.judging();
    ReportInput {
        name: "quickstart".into(),
        title: "Quickstart: five tasks, two methods".into(),
        smoke: false,
        run: RunFacts {
            finished: Some("2026-11-23T08:03:12Z".into()),
            wall_seconds: Some(503.2),
            version: "0.1.0".into(),
            machine: vec![
                ("Host".into(), "box".into()),
                ("Device".into(), "cpu, 2 threads".into()),
            ],
        },
        stages: maker.stages,
    }
}

struct Maker {
    dir: PathBuf,
    stages: Vec<ReportStage>,
}

impl Maker {
    /// Adds a stage; `cell` is the method or nothing.
    fn add(&mut self, base: &str, method: &str, spec: Value, metrics: Value) -> &mut ReportStage {
        let name = if method.is_empty() {
            base.to_owned()
        } else {
            format!("{base}:{method}")
        };
        let spec: StageSpec = serde_json::from_value(spec).unwrap();
        let number = self.stages.len() as f64;
        let in_engine = spec.runs_in_engine();
        let mut timings = BTreeMap::from([("total_s".to_owned(), 20.0 + number)]);
        if !in_engine {
            timings.extend([
                ("setup_s".to_owned(), 1.25),
                ("tokens_per_s".to_owned(), 1234.5 + number),
                ("peak_memory_mb".to_owned(), 2210.0 + 10.0 * number),
            ]);
        }
        let key = format!("{:064x}", self.stages.len() * 7919 + 1);
        self.stages.push(ReportStage {
            base: base.into(),
            cell: if method.is_empty() {
                vec![]
            } else {
                vec![("method".into(), method.into())]
            },
            state: if number < 3.0 {
                StageStatus::Cached
            } else {
                StageStatus::Ran
            },
            digests: BTreeMap::from([("model".to_owned(), format!("{key:.12}"))]),
            data: Vec::new(),
            key: Some(key),
            metrics: metrics.as_object().unwrap().clone(),
            seconds: Some(20.0 + number),
            timings,
            outputs: BTreeMap::new(),
            fingerprint: (!in_engine).then(fingerprint),
            error: None,
            name,
            spec,
        });
        self.stages.last_mut().unwrap()
    }

    fn rows<T: Serialize>(&mut self, output: &str, rows: &[T]) {
        let stage = self.stages.last_mut().unwrap();
        let path = self
            .dir
            .join(format!("{}-{output}", stage.name.replace(':', "-")));
        let lines: Vec<_> = rows
            .iter()
            .map(|row| serde_json::to_string(row).unwrap())
            .collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        stage.outputs.insert(output.into(), path);
    }

    fn reward_models(&mut self) {
        for (i, method) in ["uniform", "more"].into_iter().enumerate() {
            let weights = json!({"helpful": 0.14, "harmless": 0.31, "honest": 0.22, "concise": 0.19, "polite": 0.14});
            let mut metrics = json!({
                "steps": 100, "rows": 400, "pairs": 400, "dropped": {"too_long": 3, "identical": 0},
                "final_loss": 0.41 + 0.02 * i as f64, "tokens": 21345, "tokens_unshared": 32040,
                "tokens_shared_share": 0.334,
                "loss_by_tenths": [0.69, 0.66, 0.61, 0.57, 0.53, 0.5, 0.47, 0.44, 0.42, 0.41],
                "weights": if method == "more" { weights } else { json!({}) },
            });
            let mut spec = json!({"kind": "train-reward", "model": "smollm2", "data": SETS, "method": method, "lr": 3e-5});
            if method == "more" {
                spec["evaluate_on"] = json!(["polite", "candid"]);
                (metrics["best_step"], metrics["given_step"]) = (75.into(), 100.into());
            }
            self.add("rm", method, spec, metrics);
            self.rows("history.jsonl", &history(i as u64, method == "more", true));
            let spec =
                json!({"kind": "evaluate-reward", "model": format!("rm:{method}"), "data": SETS});
            let stage = self.add("eval", method, spec, evaluation(i));
            stage.data = SETS
                .map(|set| (set.to_owned(), format!("digest of {set}")))
                .into();
            self.rows("records.jsonl", &evaluated(i as u64));
        }
        let spec =
            json!({"kind": "train-reward", "model": "smollm2", "data": "held-back", "seed": 7});
        self.add(
            "judge-rm",
            "",
            spec,
            json!({"steps": 60, "rows": 240, "pairs": 240, "final_loss": 0.45}),
        );
    }

    fn candidates(&mut self) {
        let spec = json!({"kind": "generate", "model": "smollm2", "prompts": "ask", "samples": 4});
        self.add("candidates", "", spec, json!({"prompts": PROMPTS, "responses": 4 * PROMPTS, "mean_tokens": 41.2, "finished_share": 0.71}));
        self.rows("responses.jsonl", &responses(11, 4, 0.0));
        let spec = json!({"kind": "generate", "model": "smollm2", "prompts": "ask"});
        self.add(
            "base",
            "",
            spec,
            json!({"prompts": PROMPTS, "responses": PROMPTS}),
        );
        self.rows("responses.jsonl", &responses(12, 1, 0.0));
        let spec = json!({"kind": "perplexity", "model": "smollm2", "data": "ask"});
        self.add("ppl-base", "", spec, perplexity(14.52));
    }

    fn tuning(&mut self, method: &str) {
        let spec =
            json!({"kind": "score", "model": format!("rm:{method}"), "responses": "candidates"});
        self.add("scored", method, spec, json!({"responses": 256, "mean": 0.11, "sd": 0.98, "min": -2.6, "max": 2.9, "best_mean": 1.05}));
        self.rows("responses.jsonl", &responses(21, 4, 0.1));
        let best = json!([{"n": 1, "expected": 0.11}, {"n": 2, "expected": 0.62}, {"n": 3, "expected": 0.88}, {"n": 4, "expected": 1.05}]);
        let spec = json!({"kind": "select", "responses": format!("scored:{method}")});
        self.add("best", method, spec, json!({"prompts": 64, "selected": 64, "mean_before": 0.11, "mean_after": 1.05, "best_of": best}));
        let spec = json!({"kind": "sft", "model": "smollm2", "data": format!("best:{method}"), "steps": 24});
        let tenths = [2.1, 2.0, 1.9, 1.86, 1.8, 1.77, 1.75, 1.72, 1.71, 1.7];
        self.add("tuned", method, spec, json!({"steps": 24, "examples": 64, "final_loss": 1.7, "tokens": 9120, "loss_by_tenths": tenths}));
        self.rows(
            "history.jsonl",
            &history(5 + method.len() as u64, false, false),
        );
        let spec =
            json!({"kind": "generate", "model": format!("tuned:{method}"), "prompts": "ask"});
        self.add(
            "after",
            method,
            spec,
            json!({"prompts": 64, "responses": 64}),
        );
        self.rows("responses.jsonl", &responses(31, 1, 0.6));
        let spec = json!({"kind": "perplexity", "model": format!("tuned:{method}"), "data": "ask"});
        self.add("ppl", method, spec, perplexity(13.08));
    }

    fn judging(&mut self) {
        for (i, method) in ["uniform", "more"].into_iter().enumerate() {
            let rows = verdicts(40 + i as u64, 0.15 + 0.5 * i as f64);
            let count = |wanted| rows.iter().filter(|row| row.verdict == wanted).count();
            let (win, tie) = (count(Verdict::Win) as f64, count(Verdict::Tie) as f64);
            let rate = round((win + tie / 2.0) / PROMPTS as f64);
            let metrics = json!({
                "prompts": PROMPTS, "win": win, "tie": tie, "loss": count(Verdict::Loss), "unparsed": 0,
                "win_rate": rate, "win_rate_low": round(rate - 0.118), "win_rate_high": round(rate + 0.113),
                "length_controlled_win_rate": round(rate - 0.02),
                "mean_reward_a": 0.42, "mean_reward_b": 0.07,
                "reward_difference": 0.35, "reward_difference_low": 0.08, "reward_difference_high": 0.62,
            });
            let spec = json!({"kind": "judge", "a": format!("after:{method}"), "b": "base", "model": "judge-rm", "tie_margin": 0.1});
            self.add("judge", method, spec, metrics);
            self.rows("verdicts.jsonl", &rows);
        }
    }
}

fn fingerprint() -> Fingerprint {
    Fingerprint {
        libtorch: "2.13.0".into(),
        device: "cpu".into(),
        instructions: "AVX512".into(),
        threads: 2,
        fp32_matmul: "medium".into(),
        token_budget: Some(3072),
    }
}

fn history(seed: u64, weighted: bool, reward: bool) -> Vec<HistoryRow> {
    let mut noise = Noise(seed);
    let (steps, start, end) = if reward {
        (100, 0.72, 0.40)
    } else {
        (24, 2.15, 1.7)
    };
    let mut rows = Vec::new();
    for step in 1..=steps {
        let progress = f64::from(step) / f64::from(steps);
        let mean = end + (start - end) * (-3.0 * progress).exp();
        let mut values = BTreeMap::from([
            ("loss".to_owned(), round(mean + 0.05 * noise.normal())),
            ("lr".to_owned(), round(3e-1 * (1.0 - progress))),
            ("grad_norm".to_owned(), round(4.0 + noise.normal().abs())),
        ]);
        let mut sum = 0.0;
        let mut weights = Vec::new();
        for (i, set) in SETS.iter().enumerate().filter(|_| reward) {
            let own = mean + 0.04 * (i as f64 - 2.0) * progress + 0.08 * noise.normal();
            values.insert(format!("loss/{set}"), round(own));
            let weight = (0.3 + i as f64 * 0.1 * progress + 0.05 * noise.normal()).max(0.0);
            sum += weight;
            weights.push((set, weight));
        }
        for (set, weight) in weights.into_iter().filter(|_| weighted) {
            values.insert(format!("weight/{set}"), round(weight / sum));
        }
        if weighted && step % 25 == 0 {
            for (set, shift) in [("polite", 0.05), ("candid", 0.1)] {
                values.insert(format!("eval/{set}/loss"), round(mean + shift));
                values.insert(format!("eval/{set}/accuracy"), round(1.1 - mean));
            }
        }
        rows.push(HistoryRow {
            step: step as u64,
            values,
        });
    }
    rows
}

/// Records of an evaluation; those of the two methods go together.
fn evaluated(method: u64) -> Vec<EvaluationRow> {
    let mut noise = Noise(17);
    let mut rows = Vec::new();
    for set in SETS {
        for row in 0..100 {
            let (shared, own) = (noise.normal(), noise.normal());
            let margin = 0.8 + shared + (0.5 + method as f64) * 0.4 * own;
            rows.push(EvaluationRow {
                set: set.into(),
                row,
                scores: vec![
                    1.0,
                    if set == "honest" && row == 0 {
                        1.0
                    } else {
                        0.0
                    },
                ],
                rewards: vec![round(margin), 0.0],
                tokens: vec![40, 30],
                ..EvaluationRow::default()
            });
        }
    }
    rows
}

fn evaluation(method: usize) -> Value {
    let accuracies = [
        [0.81, 0.66, 0.79, 0.88, 0.83],
        [0.79, 0.77, 0.80, 0.86, 0.84],
    ][method];
    let mut sets = serde_json::Map::new();
    for (i, set) in SETS.iter().enumerate() {
        let accuracy = accuracies[i];
        let half = round(1.96 * (accuracy * (1.0 - accuracy) / 100.0f64).sqrt());
        let bins: Vec<_> = (0..10)
            .map(|bin| {
                let lower = 0.5 + 0.05 * f64::from(bin);
                let count = [22, 18, 15, 12, 10, 9, 7, 5, 2, 0][bin as usize];
                let gap = 0.05 * (f64::from(bin) - 4.0) / 4.0 * if i % 2 == 0 { 1.0 } else { -1.5 };
                json!({"lower": round(lower), "upper": round(lower + 0.05), "count": count,
                    "confidence": round(lower + 0.02), "accuracy": round((lower + 0.02 + gap).min(1.0)),
                    "accuracy_low": round((lower - 0.13 + gap).max(0.0)), "accuracy_high": round((lower + 0.14 + gap).min(1.0))})
            })
            .collect();
        sets.insert((*set).into(), json!({
            "pairs": 100, "ties_skipped": i, "accuracy": accuracy,
            "accuracy_low": round(accuracy - half), "accuracy_high": round((accuracy + half).min(1.0)),
            "ece": 0.06 + 0.01 * i as f64, "ace": 0.061, "mce": 0.21, "brier": 0.17, "nll": 0.52,
            "mean_margin": 0.83, "mean_reward": 0.12, "length_correlation": -0.07, "reliability": bins,
            "reward_ties": 1 + i, "accuracy_decided": accuracy + 0.01, "accuracy_ties_half": accuracy - 0.01,
            "calibration": {"uniform-5": {"ece": 0.05, "ace": 0.06, "mce": 0.1}, "quantile-10": {"ece": 0.04, "ace": 0.05, "mce": 0.2}},
            "temperature": temperature(i),
            "length": {"rank_correlation": -0.05, "longer_better": 0.45, "longer_preferred": 0.4, "quartiles": [
                {"lower": -40.0, "upper": -10.0, "count": 25, "accuracy": 0.9}, {"lower": -10.0, "upper": 0.0, "count": 25, "accuracy": 0.8},
                {"lower": 0.0, "upper": 0.0, "count": 0}, {"lower": 0.0, "upper": 50.0, "count": 50, "accuracy": 0.7},
            ]},
        }));
    }
    let mean = round(accuracies.iter().sum::<f64>() / 5.0);
    let pooled =
        json!({"accuracy": mean, "accuracy_low": mean - 0.02, "accuracy_high": mean + 0.02});
    json!({"sets": sets, "pooled": pooled, "mean": {"accuracy": mean, "ece": 0.08, "ace": 0.061, "mce": 0.21}})
}

fn temperature(set: usize) -> Value {
    if set == 4 {
        return json!({"undetermined": "every margin has the right sign"});
    }
    let half = |t: f64| json!({"temperature": t, "fitted_pairs": 50, "pairs": 50});
    json!({"nll_before": 0.52, "nll_after": 0.5, "ece_before": 0.06, "ece_after": 0.03,
        "first_half": half(1.21), "second_half": half(1.34)})
}

fn perplexity(value: f64) -> Value {
    let set = json!({"perplexity": value, "nll_per_token": round(value.ln()), "tokens": 2711, "records": 64});
    json!({"sets": {"ask": set}, "perplexity": value})
}

fn prompt(id: u64) -> Vec<Message> {
    let texts = [
        "How do I keep basil alive on a windowsill in winter?",
        "My neighbour's dog barks all night. What can I say to them?",
        "Explain in two sentences why the sky is blue.",
        "Is it true that we only use ten percent of our brains?",
    ];
    vec![Message::user(texts[id as usize % texts.len()])]
}

fn answer(id: u64, tuned: bool) -> String {
    match (id % 5, tuned) {
        (0, true) => "Keep it near a bright window, water it when the top of the soil is dry, and \
                      pinch off the flowers.\n\n1. Light\n2. Water\n3. Warmth"
            .into(),
        (1, _) => HOSTILE.into(),
        (2, false) => String::new(),
        (_, true) => "A short and friendly answer that says what to do first.".into(),
        (_, false) => "There are many things one could say about this, and it depends on a lot of \
                       different factors which we will now go through one by one."
            .into(),
    }
}

fn responses(seed: u64, samples: u64, shift: f64) -> Vec<ResponseRow> {
    let mut noise = Noise(seed);
    let mut response = |id| Response {
        text: answer(id, shift > 0.5),
        tokens: 40,
        finish: Finish::Stop,
        logprob: Some(-50.0),
        score: Some(round(shift + noise.normal())),
    };
    let row = |id| ResponseRow {
        id,
        prompt: prompt(id),
        responses: (0..samples).map(|_| response(id)).collect(),
        reference: None,
    };
    (0..PROMPTS).map(row).collect()
}

fn verdicts(seed: u64, shift: f64) -> Vec<VerdictRow> {
    let mut noise = Noise(seed);
    let row = |id| {
        let rewards = [round(shift + noise.normal()), round(noise.normal())];
        let difference = rewards[0] - rewards[1];
        VerdictRow {
            id,
            prompt: prompt(id),
            a: answer(id, true),
            b: answer(id, false),
            verdict: match difference {
                d if d > 0.1 => Verdict::Win,
                d if d < -0.1 => Verdict::Loss,
                _ => Verdict::Tie,
            },
            orders: None,
            rewards: Some(rewards),
            replies: Vec::new(),
        }
    };
    (0..PROMPTS).map(row).collect()
}
