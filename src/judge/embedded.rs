//! The embedded judge: a reward model in the worker gave both rewards, the
//! verdicts and the statistics are made here.

use std::fs::{self, File};
use std::path::Path;

use moreline_protocol::artifact::{JUDGED, VERDICTS};
use moreline_protocol::event::Metrics;
use moreline_protocol::job::Job;
use moreline_protocol::rows::{JudgedRow, Verdict, VerdictRow};
use moreline_protocol::spec::Judge;

use super::JudgeError;
use super::lines::Lines;
use super::summary::summarise;
use crate::records::write_rows;

/// Turns the rewards a worker left in the job's output directory into
/// verdicts: a win for the side whose reward is higher by more than
/// `tie_margin`. The rewards' file is removed.
///
/// # Errors
/// Missing, malformed or non-finite rewards, or a failed write.
pub fn finish_embedded(job: &Job, spec: &Judge) -> Result<Metrics, JudgeError> {
    let path = job.output_dir.join(JUDGED);
    let verdicts: Vec<_> = read_judged(&path)?
        .into_iter()
        .map(|row| verdict(row, spec.tie_margin))
        .collect();
    write_rows(&job.output_dir, VERDICTS, &verdicts)?;
    fs::remove_file(&path).map_err(|source| JudgeError::Io {
        action: "remove",
        path,
        source,
    })?;
    Ok(summarise(spec, &verdicts))
}

fn read_judged(path: &Path) -> Result<Vec<JudgedRow>, JudgeError> {
    let unreadable = |source| JudgeError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let bad = |line, reason| JudgeError::Judged {
        path: path.to_owned(),
        line,
        reason,
    };
    let mut rows = Vec::new();
    for (at, line) in Lines::new(file).enumerate() {
        let row: JudgedRow = serde_json::from_slice(&line.map_err(unreadable)?)
            .map_err(|error| bad(at + 1, error.to_string()))?;
        if !(row.reward_a.is_finite() && row.reward_b.is_finite()) {
            return Err(bad(
                at + 1,
                format!("a reward of prompt {} is not finite", row.id),
            ));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(bad(1, "it is empty".into()));
    }
    Ok(rows)
}

fn verdict(row: JudgedRow, margin: f64) -> VerdictRow {
    let difference = row.reward_a - row.reward_b;
    let verdict = if difference.abs() <= margin {
        Verdict::Tie
    } else if difference > 0.0 {
        Verdict::Win
    } else {
        Verdict::Loss
    };
    VerdictRow {
        id: row.id,
        prompt: row.prompt,
        a: row.a,
        b: row.b,
        verdict,
        orders: None,
        rewards: Some([row.reward_a, row.reward_b]),
        replies: Vec::new(),
    }
}
