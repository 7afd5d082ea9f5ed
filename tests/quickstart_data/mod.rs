//! The data of the quickstart: enough of it, short, disjoint, and not solvable
//! by counting letters or words.

mod baselines;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use baselines::{Pair, words};
use serde_json::Value;

const TASKS: [&str; 5] = ["helpful", "harmless", "honest", "concise", "polite"];
const LIMIT: f64 = 0.65;

/// The objects of one file under `data/quickstart`.
fn rows(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/quickstart")
        .join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()));
    text.lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{name}, line {}: {error}", index + 1))
        })
        .collect()
}

/// A text field that must be there, trimmed and not empty.
fn field<'row>(row: &'row Value, key: &str) -> &'row str {
    let text = row[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text under {key:?} in {row}"));
    assert!(!text.is_empty() && text.trim() == text, "{key:?} in {row}");
    text
}

/// The preference pairs of one file.
fn pairs(name: &str) -> Vec<Pair> {
    rows(name)
        .iter()
        .map(|row| Pair {
            prompt: field(row, "prompt").to_owned(),
            chosen: field(row, "chosen").to_owned(),
            rejected: field(row, "rejected").to_owned(),
        })
        .collect()
}

/// Every preference file with the split it belongs to.
fn preference_files() -> Vec<(String, &'static str)> {
    let mut files = vec![("judge.train.jsonl".to_owned(), "judge")];
    for task in TASKS {
        files.push((format!("{task}.train.jsonl"), "train"));
        files.push((format!("{task}.test.jsonl"), "test"));
    }
    files
}

/// The prompts of each split, generation prompts included.
fn prompts_by_split() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut splits = BTreeMap::<_, BTreeSet<_>>::new();
    for (name, split) in preference_files() {
        let prompts = pairs(&name).into_iter().map(|pair| pair.prompt);
        splits.entry(split).or_default().extend(prompts);
    }
    let generation = rows("prompts.jsonl");
    let prompts = generation.iter().map(|row| field(row, "prompt").to_owned());
    splits.entry("generation").or_default().extend(prompts);
    splits
}

/// A generous count of byte-level BPE tokens: words (long ones twice), digits
/// and marks.
fn units(text: &str) -> usize {
    let single = |c: &char| !c.is_alphabetic() && !c.is_whitespace();
    let words = text
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty());
    let words: usize = words.map(|word| 1 + usize::from(word.len() > 7)).sum();
    words + text.chars().filter(single).count()
}

/// Whether two word sequences differ by at most one changed or missing word.
fn one_edit_apart(left: &[String], right: &[String]) -> bool {
    let (short, long) = if left.len() <= right.len() {
        (left, right)
    } else {
        (right, left)
    };
    let front = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    match long.len() - short.len() {
        0 => front == long.len() || short[front + 1..] == long[front + 1..],
        1 => short[front..] == long[front + 1..],
        _ => false,
    }
}

#[test]
fn there_are_enough_rows_and_few_repeated_prompts() {
    for (name, split) in preference_files() {
        let pairs = pairs(&name);
        let least = if split == "test" { 100 } else { 240 };
        assert!(pairs.len() >= least, "{name} has {} rows", pairs.len());
        let prompts: BTreeSet<_> = pairs.iter().map(|pair| &pair.prompt).collect();
        assert!(
            prompts.len() * 5 >= pairs.len() * 4,
            "{name} repeats prompts"
        );
        let unique: BTreeSet<_> = pairs.iter().map(|p| (&p.prompt, &p.chosen)).collect();
        assert_eq!(unique.len(), pairs.len(), "{name} repeats rows");
        assert!(pairs.iter().all(|p| p.chosen != p.rejected), "{name}");
    }
    let generation = rows("prompts.jsonl");
    assert_eq!(generation.len(), 64);
    assert!(
        generation
            .iter()
            .all(|row| !field(row, "answer").is_empty())
    );
}

#[test]
fn texts_are_short() {
    for (name, _) in preference_files() {
        for pair in pairs(&name) {
            let total = units(&pair.prompt) + units(&pair.chosen) + units(&pair.rejected);
            assert!(total <= 60, "{name}: {total} units at {:?}", pair.prompt);
        }
    }
}

#[test]
fn no_split_holds_a_prompt_close_to_one_of_another() {
    let splits = prompts_by_split();
    let split_words: Vec<(&str, Vec<Vec<String>>)> = splits
        .iter()
        .map(|(name, prompts)| (*name, prompts.iter().map(|text| words(text)).collect()))
        .collect();
    for (index, (name, prompts)) in split_words.iter().enumerate() {
        for (other, others) in &split_words[index + 1..] {
            for left in prompts {
                let twin = others.iter().find(|right| one_edit_apart(left, right));
                assert!(twin.is_none(), "{name} {left:?} and {other} {twin:?}");
            }
        }
    }
}

#[test]
fn closeness_of_prompts_is_told_right() {
    let close = |left, right| one_edit_apart(&words(left), &words(right));
    assert!(close("boil an egg", "boil an egg"));
    assert!(close("boil an egg", "poach an egg"));
    assert!(close("boil an egg", "boil an old egg"));
    assert!(!close("boil an egg", "poach an onion"));
    assert!(!close("boil an egg", "boil an old brown egg"));
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is what a reader asks for")]
fn shallow_baselines_fail_on_every_task() {
    println!("| task | train | test | length only | 20 words |");
    println!("|---|---|---|---|---|");
    let mut failed = Vec::new();
    for task in TASKS {
        let train = pairs(&format!("{task}.train.jsonl"));
        let test = pairs(&format!("{task}.test.jsonl"));
        let length = baselines::length_accuracy(&train, &test);
        let words = baselines::word_accuracy(&train, &test);
        let (n, m) = (train.len(), test.len());
        println!("| {task} | {n} | {m} | {length:.3} | {words:.3} |");
        if length >= LIMIT || words >= LIMIT {
            failed.push(task);
        }
    }
    assert!(failed.is_empty(), "too easy: {failed:?}");
}

#[test]
fn shallow_baselines_find_what_is_there() {
    let pair = |chosen: &str, rejected: &str| Pair {
        prompt: String::new(),
        chosen: chosen.to_owned(),
        rejected: rejected.to_owned(),
    };
    let longer: Vec<_> = (3..40)
        .map(|n| pair(&"la ".repeat(n), &"la ".repeat(n - 2)))
        .collect();
    assert!(baselines::length_accuracy(&longer, &longer) > 0.99);
    assert!((baselines::word_accuracy(&longer, &longer) - 0.5).abs() < 1e-9);
    let keyed: Vec<_> = (0..40)
        .map(|n| pair(&format!("sure word{n}"), &format!("nope word{n}")))
        .collect();
    assert!(baselines::word_accuracy(&keyed, &keyed) > 0.99);
}
