//! What weights depend on besides the batch.

use serde::{Deserialize, Serialize};

use crate::objective::Descent;

/// What is carried from step to step, part of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// MORE: running head gradient of each (weight group, task).
    #[serde(default)]
    pub momentum: Vec<Vec<f64>>,
    /// Steps solved so far.
    #[serde(default)]
    pub solved: u64,
    /// DWA: the course of each task's loss.
    #[serde(default)]
    pub courses: Vec<Course>,
}

/// A task's loss in the window of steps that is open, and in the last two that
/// are closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    sum: f64,
    steps: u64,
    last: Option<f64>,
    before: Option<f64>,
}

impl Course {
    /// The mean loss of a step in which the task had pairs.
    pub(super) fn add(&mut self, loss: f64) {
        self.sum += loss;
        self.steps += 1;
    }

    /// Ends the window. One without pairs of the task counts as none.
    pub(super) fn close(&mut self) {
        if self.steps > 0 {
            self.before = self.last;
            self.last = Some(self.sum / self.steps as f64);
            (self.sum, self.steps) = (0.0, 0);
        }
    }

    /// The last two means, once there are two.
    pub(super) fn descent(&self) -> Option<Descent> {
        Some(Descent {
            last: self.last?,
            before: self.before?,
        })
    }
}
