use moreline_protocol::artifact::JUDGED;
use moreline_protocol::rows::{JudgedRow, Verdict};

use super::*;

fn row(id: u64, reward_a: f64, reward_b: f64) -> JudgedRow {
    JudgedRow {
        id,
        prompt: vec![Message::user("q")],
        a: "short".into(),
        b: if id.is_multiple_of(2) {
            "longer".into()
        } else {
            "a".into()
        },
        reward_a,
        reward_b,
    }
}

fn write(job: &Job, rows: &[JudgedRow]) {
    let lines: String = rows
        .iter()
        .map(|row| format!("{}\n", serde_json::to_string(row).unwrap()))
        .collect();
    fs::write(job.output_dir.join(JUDGED), lines).unwrap();
}

#[test]
fn rewards_become_verdicts_and_statistics() {
    let (_dir, job) = job(json!({"model": "rm", "tie_margin": 0.5}));
    let rewards = [
        (2.0, 1.0),
        (1.0, 1.5),
        (0.0, 3.0),
        (4.0, 1.0),
        (2.0, 1.0),
        (1.0, 1.25),
    ];
    let rows: Vec<_> = rewards
        .iter()
        .zip(0..)
        .map(|((a, b), id)| row(id, *a, *b))
        .collect();
    write(&job, &rows);
    let metrics = finish_embedded(&job, judge_of(&job)).unwrap();
    let found: Vec<_> = verdicts(&job).into_iter().map(|row| row.verdict).collect();
    let (win, tie, loss) = (Verdict::Win, Verdict::Tie, Verdict::Loss);
    assert_eq!(found, [win, tie, loss, win, win, tie]);
    for (name, count) in [
        ("prompts", 6),
        ("win", 3),
        ("tie", 2),
        ("loss", 1),
        ("unparsed", 0),
    ] {
        assert_eq!(metrics[name], count, "{name}");
    }
    assert_eq!(number(&metrics, "win_rate"), 4.0 / 6.0);
    assert!(number(&metrics, "win_rate_low") < number(&metrics, "win_rate_high"));
    assert!((number(&metrics, "mean_reward_a") - 10.0 / 6.0).abs() < 1e-12);
    assert!((number(&metrics, "mean_reward_b") - 8.75 / 6.0).abs() < 1e-12);
    let difference = number(&metrics, "reward_difference");
    assert!((difference - 1.25 / 6.0).abs() < 1e-12);
    assert!(number(&metrics, "reward_difference_low") < difference);
    assert!(metrics.contains_key("length_controlled_win_rate"));
    assert!(!job.output_dir.join(JUDGED).exists());
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let run = || {
        let (_dir, job) = job(json!({"model": "rm", "seed": 3}));
        let rows: Vec<_> = (0..40)
            .map(|id| row(id, (id * 7 % 11) as f64, 5.0))
            .collect();
        write(&job, &rows);
        finish_embedded(&job, judge_of(&job)).unwrap()
    };
    assert_eq!(run(), run());
}

#[test]
fn rewards_that_cannot_be_used_are_refused() {
    let good = serde_json::to_string(&row(0, 1.0, 0.0)).unwrap();
    let cases = [
        String::new(),
        format!("{good}\n{{\n"),
        format!("{good}\n{}", good.replace("1.0", "1e999")),
    ];
    let mut messages = cases
        .map(|text| {
            let (dir, job) = job(json!({"model": "rm"}));
            fs::write(job.output_dir.join(JUDGED), text).unwrap();
            shown(
                &finish_embedded(&job, judge_of(&job)).unwrap_err(),
                dir.path(),
            )
        })
        .to_vec();
    let (dir, job) = job(json!({"model": "rm"}));
    messages.push(shown(
        &finish_embedded(&job, judge_of(&job)).unwrap_err(),
        dir.path(),
    ));
    insta::assert_snapshot!(messages.join("\n\n"));
}
