//! What happens to a run under way.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Chaos;
use super::state::children;
use crate::engine::kills::{run_apart, run_with_limit};
use crate::small_disk::fill;

/// Longer than any run takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a run is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disturbance {
    KillEngine,
    KillWorker,
    KillBoth,
    /// Engines killed one after the other, each going on where the last was.
    KillAgain,
    /// Three engines on one experiment.
    AtOnce,
    /// Three engines, one of which is killed.
    KillOneOfMany,
    DiskFull,
    FileLimit,
    ReadOnly,
}

impl Disturbance {
    pub(super) const ALL: [Self; 11] = [
        Self::KillEngine,
        Self::KillWorker,
        Self::AtOnce,
        Self::KillBoth,
        Self::DiskFull,
        Self::KillAgain,
        Self::KillWorker,
        Self::FileLimit,
        Self::KillOneOfMany,
        Self::ReadOnly,
        Self::KillEngine,
    ];
}

impl Chaos {
    pub(super) fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::KillEngine => self.kill_engine(),
            Disturbance::KillAgain => (0..3).for_each(|_| self.kill_engine()),
            Disturbance::KillWorker => {
                let mut engine = run_apart(&self.fixture);
                self.kill_worker(&mut engine);
                end(engine);
            }
            Disturbance::KillBoth => {
                let mut engine = run_apart(&self.fixture);
                self.kill_worker(&mut engine);
                self.kill(engine);
            }
            Disturbance::AtOnce => self.at_once(false),
            Disturbance::KillOneOfMany => self.at_once(true),
            Disturbance::DiskFull => self.fill_disk(),
            Disturbance::FileLimit => {
                let blocks = self.dice.below(8);
                end(run_with_limit(&self.fixture, blocks));
                self.counts.file_limit += 1;
            }
            Disturbance::ReadOnly => self.read_only(),
        }
    }

    fn kill_engine(&mut self) {
        let moment = self.moment();
        let engine = run_apart(&self.fixture);
        std::thread::sleep(moment);
        self.kill(engine);
    }

    /// Kills an engine; it counts if it was not over.
    fn kill(&mut self, mut engine: Child) {
        let over = engine.try_wait().unwrap().is_some();
        self.counts.engines_killed += usize::from(!over);
        engine.kill().unwrap();
        engine.wait().unwrap();
    }

    /// Kills a worker of an engine, the first that is there after some moment.
    fn kill_worker(&mut self, engine: &mut Child) {
        std::thread::sleep(self.moment());
        while engine.try_wait().unwrap().is_none() {
            let workers = children(engine.id());
            if let Some(&worker) = self.dice.pick(&workers) {
                let pid = Pid::from_raw(worker as i32).unwrap();
                let killed = kill_process(pid, Signal::KILL).is_ok();
                self.counts.workers_killed += usize::from(killed);
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn at_once(&mut self, kill: bool) {
        let mut engines = Vec::new();
        for _ in 0..3 {
            engines.push(run_apart(&self.fixture));
            std::thread::sleep(self.moment() / 8);
        }
        if kill {
            std::thread::sleep(self.moment());
            let victim = engines.swap_remove(self.dice.below(3));
            self.kill(victim);
        }
        for engine in engines {
            assert!(end(engine), "a run beside others failed");
        }
        self.counts.runs_at_once += 3;
    }

    /// Leaves the cache a few kilobytes at most.
    fn fill_disk(&mut self) {
        if self.disk.is_none() {
            return;
        }
        let filler = self.fixture.cache().join("filler");
        fill(&filler);
        let room = self.dice.below(16) * 4096;
        let length = fs::metadata(&filler).unwrap().len();
        let file = fs::File::options().write(true).open(&filler).unwrap();
        file.set_len(length.saturating_sub(room as u64)).unwrap();
        end(run_apart(&self.fixture));
        fs::remove_file(filler).unwrap();
        self.counts.disk_full += 1;
    }

    fn read_only(&mut self) {
        let Some(disk) = &self.disk else {
            return;
        };
        disk.change("ro");
        end(run_apart(&self.fixture));
        disk.change("rw");
        self.counts.read_only += 1;
    }
}

/// Waits for an engine to end by itself; true if its run was complete.
fn end(mut engine: Child) -> bool {
    let clock = Instant::now();
    loop {
        if let Some(status) = engine.try_wait().unwrap() {
            return status.success();
        }
        if clock.elapsed() > PATIENCE {
            let _ = engine.kill();
            panic!("an engine hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
