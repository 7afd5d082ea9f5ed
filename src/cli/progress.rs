//! What is seen of a run while it goes on: bars on a terminal, plain lines
//! elsewhere. Everything goes to standard error.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use moreline_protocol::event::Level;

use super::table::{bytes, duration, number};
use super::terminal::{self, Colour};
use crate::engine::Observer;
use crate::event::{Outcome, RunEvent};

/// Time between two lines on the progress of one stage, off a terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Failures and warnings.
    Quiet,
    /// A line when a stage starts and ends, and now and then between.
    Lines,
    /// A bar for every running stage.
    Bars,
}

/// Shows a run.
pub(super) struct Progress {
    detail: Detail,
    bars: MultiProgress,
    stages: Mutex<HashMap<String, Running>>,
}

/// A running stage.
struct Running {
    bar: ProgressBar,
    phase: String,
    /// When the phase was first heard of, and how far it was then: a stage that
    /// goes on from a checkpoint does not start at 0.
    since: Instant,
    before: u64,
    shown: Instant,
    scalars: String,
}

impl Progress {
    pub(super) fn new(detail: Detail) -> Self {
        let bars = MultiProgress::new();
        if detail != Detail::Bars {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self {
            detail,
            bars,
            stages: Mutex::new(HashMap::new()),
        }
    }

    /// Takes the bars away.
    pub(super) fn clear(&self) {
        let _ = self.bars.clear();
    }

    fn line(&self, text: &str) {
        if self.detail == Detail::Bars {
            let _ = self.bars.println(text);
        } else {
            terminal::error(&format!("{text}\n"));
        }
    }

    fn start(&self, stage: &str, reason: &str) {
        // One that is begun anew, for what it took was replaced, has a bar already.
        self.end(stage);
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let bar = ProgressBar::hidden();
        if self.detail == Detail::Bars {
            let bar_style = ProgressStyle::with_template("{prefix:20} {spinner} {msg}");
            bar.set_style(bar_style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_prefix(stage.to_owned());
            bar.set_message("starting");
            let bar = self.bars.add(bar);
            bar.enable_steady_tick(Duration::from_millis(200));
            stages.insert(stage.to_owned(), Running::new(bar, now));
        } else {
            stages.insert(stage.to_owned(), Running::new(bar, now));
            self.detailed(&format!("{stage}: started ({reason})"));
        }
    }

    /// A line that `--quiet` leaves out.
    fn detailed(&self, text: &str) {
        if self.detail != Detail::Quiet {
            self.line(text);
        }
    }

    fn advance(&self, stage: &str, phase: &str, done: u64, total: u64, unit: &str) {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = stages.get_mut(stage) else {
            return;
        };
        let now = Instant::now();
        let is_new = running.phase != phase;
        if is_new {
            phase.clone_into(&mut running.phase);
            running.since = now;
            running.before = done;
            running.bar.reset();
        }
        running.bar.set_length(total);
        running.bar.set_message(running.message());
        if is_new {
            running.bar.set_style(bar_style(unit));
        }
        running.bar.set_position(done);
        if is_new {
            running.bar.reset_eta();
        }
        if self.detail == Detail::Lines && now.duration_since(running.shown) >= LINE_EVERY {
            running.shown = now;
            let left = running.time_left(done, total, now);
            let scalars = &running.scalars;
            self.line(&format!(
                "{stage}: {phase} {done}/{total} {unit}{scalars}{left}"
            ));
        }
    }

    fn scalars(&self, stage: &str, values: &std::collections::BTreeMap<String, f64>) {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = stages.get_mut(stage) {
            running.scalars = ["loss", "accuracy"]
                .iter()
                .filter_map(|name| Some(format!(", {name} {}", number(*values.get(*name)?))))
                .collect();
            running.bar.set_message(running.message());
        }
    }

    fn end(&self, stage: &str) {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = stages.remove(stage) {
            running.bar.finish_and_clear();
            self.bars.remove(&running.bar);
        }
    }

    fn finished(&self, stage: &str, state: Outcome, seconds: f64) {
        self.end(stage);
        // Stages that were there already are listed at the end only.
        if state == Outcome::Ran {
            let mark = terminal::paint_err(Colour::Green, "done");
            self.detailed(&format!("{stage}: {mark} in {}", duration(seconds)));
        }
    }

    fn failed(&self, stage: &str, message: &str, hint: Option<&str>) {
        self.end(stage);
        let mark = terminal::paint_err(Colour::Red, "failed");
        self.line(&format!("{stage}: {mark}: {message}"));
        if let Some(hint) = hint {
            self.line(&format!("  {hint}"));
        }
    }

    fn fetching(&self, what: &str, file: &str, done: u64, total: u64) {
        let stage = format!("{what} {file}");
        let known = {
            let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
            stages.contains_key(&stage)
        };
        if !known {
            self.start(&stage, &format!("{} to fetch", bytes(total)));
        }
        if done >= total {
            self.end(&stage);
        } else {
            self.advance(&stage, "fetching", done, total, "bytes");
        }
    }
}

impl Running {
    fn new(bar: ProgressBar, now: Instant) -> Self {
        Self {
            bar,
            phase: String::new(),
            since: now,
            before: 0,
            shown: now,
            scalars: String::new(),
        }
    }

    fn message(&self) -> String {
        format!("{}{}", self.phase, self.scalars)
    }

    /// At the pace since the phase was first heard of; nothing before it moved.
    fn time_left(&self, done: u64, total: u64, now: Instant) -> String {
        let spent = now.duration_since(self.since).as_secs_f64();
        if done <= self.before || done >= total {
            return String::new();
        }
        let left = spent / (done - self.before) as f64 * (total - done) as f64;
        format!(", {} left", duration(left))
    }
}

fn bar_style(unit: &str) -> ProgressStyle {
    let figures = if unit == "bytes" {
        "{binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}".to_owned()
    } else {
        format!(
            "{{pos}}/{{len}} {} {{per_sec}}",
            unit.replace(['{', '}'], "")
        )
    };
    let template = format!("{{prefix:20}} [{{bar:24}}] {figures}, {{eta}} left  {{wide_msg}}");
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl Observer for Progress {
    fn event(&self, event: &RunEvent) {
        match event {
            RunEvent::StageStarted { stage, reason, .. } => self.start(stage, reason),
            RunEvent::StageWaiting { stage, holder } => {
                let who = holder
                    .as_ref()
                    .map_or("another run".into(), ToString::to_string);
                self.detailed(&format!(
                    "{stage}: waiting for {who}, which runs it already"
                ));
            }
            RunEvent::Progress {
                stage,
                phase,
                done,
                total,
                unit,
            } => self.advance(stage, phase, *done, *total, unit),
            RunEvent::Scalars { stage, values, .. } => self.scalars(stage, values),
            RunEvent::Log {
                stage,
                level: Level::Warn,
                message,
            } => {
                let mark = terminal::paint_err(Colour::Yellow, "warning");
                self.line(&format!("{stage}: {mark}: {message}"));
            }
            RunEvent::StageFinished {
                stage,
                state,
                seconds,
                ..
            } => self.finished(stage, *state, *seconds),
            RunEvent::StageFailed {
                stage,
                message,
                hint,
            } => self.failed(stage, message, hint.as_deref()),
            RunEvent::StageSkipped { stage, .. } => self.end(stage),
            RunEvent::Fetching {
                what,
                file,
                done,
                total,
            } => self.fetching(what, file, *done, *total),
            RunEvent::Log { .. } | RunEvent::RunStarted { .. } | RunEvent::RunFinished { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_told_once_there_is_a_pace() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut running = Running::new(ProgressBar::hidden(), start);
        running.before = 40;
        // The first word of a phase says nothing about its pace.
        assert_eq!(running.time_left(40, 100, after(0)), "");
        assert_eq!(running.time_left(40, 100, after(30)), "");
        assert_eq!(running.time_left(50, 100, after(20)), ", 1 min 40 s left");
        assert_eq!(running.time_left(100, 100, after(120)), "");
    }
}
