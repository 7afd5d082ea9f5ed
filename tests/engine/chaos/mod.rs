//! Kills, damage, full disks and rivals at random moments: what a plain run ends
//! with is the same as without them, to the byte.
//!
//! A round forgets some results, damages what is kept, disturbs a run that makes
//! them anew, damages again, and then lets a plain run mend it all. Choices are
//! seeded; where exactly a kill falls differs from machine to machine.
//! `make chaos N=200` asks for more kills than `cargo test` does.

mod damage;
mod disturb;
mod state;

use std::io::Write as _;
use std::time::{Duration, Instant};

use moreline::engine;
use moreline::event::Outcome;

use self::damage::Damage;
use self::disturb::Disturbance;
use self::state::{everything, strays};
use super::dice::Dice;
use super::fixture::Fixture;
use super::kills::run_apart;
use crate::small_disk::SmallDisk;

/// Kills without being asked for more.
const KILLS: usize = 12;
const SEED: u64 = 20_260_105;

/// What was done to the runs.
#[derive(Debug, Default)]
struct Counts {
    rounds: usize,
    engines_killed: usize,
    workers_killed: usize,
    runs_at_once: usize,
    disk_full: usize,
    file_limit: usize,
    read_only: usize,
    damage: std::collections::BTreeMap<Damage, usize>,
}

/// An experiment that is run under adverse conditions.
struct Chaos {
    /// Taken away before the directory it is in.
    disk: Option<SmallDisk>,
    fixture: Fixture,
    /// What an undisturbed run gave.
    undisturbed: Vec<String>,
    /// How long it took.
    length: Duration,
    dice: Dice,
    counts: Counts,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let undisturbed = Fixture::new();
        undisturbed.order("journal");
        let clock = Instant::now();
        assert!(run_apart(&undisturbed).wait().unwrap().success());
        let length = clock.elapsed();
        let fixture = Fixture::new();
        fixture.order("journal");
        Self {
            disk: SmallDisk::mount(fixture.cache(), "size=128m"),
            fixture,
            undisturbed: everything(&undisturbed),
            length,
            dice: Dice::new(seed),
            counts: Counts::default(),
        }
    }

    /// A moment of an undisturbed run, or a little after its end.
    fn moment(&mut self) -> Duration {
        let micros = self.length.as_micros() as usize;
        Duration::from_micros(self.dice.below(micros + micros / 8) as u64)
    }

    fn kills(&self) -> usize {
        self.counts.engines_killed + self.counts.workers_killed
    }

    fn round(&mut self) {
        let round = self.counts.rounds;
        self.counts.rounds += 1;
        let disturbance = Disturbance::ALL[round % Disturbance::ALL.len()];
        let damage = Damage::ALL[round % Damage::ALL.len()];
        let early = self.dice.coin() && damage != Damage::Journal;
        self.forget();
        if early {
            self.damage(damage);
        }
        self.disturb(disturbance);
        if !early {
            self.damage(damage);
        }
        self.mend(&format!(
            "round {round}: {disturbance:?}, {damage:?}, {early}"
        ));
    }

    /// A plain run, and what has to hold after it.
    fn mend(&self, what: &str) {
        let summary = self.fixture.run();
        assert!(summary.is_complete(), "{what}: {summary:#?}");
        let found = everything(&self.fixture);
        for (found, expected) in found.iter().zip(&self.undisturbed) {
            assert_eq!(found, expected, "{what}");
        }
        assert_eq!(found.len(), self.undisturbed.len(), "{what}");
        let planned = self.fixture.planned();
        let cached = planned.iter().all(|state| state.ends_with("=cached"));
        assert!(cached, "{what}: {planned:?}");
        let store = engine::store(&self.fixture.experiment, &self.fixture.site);
        let verified = store.verify_all().unwrap();
        assert_eq!(verified.damaged, [], "{what}");
        assert_eq!(verified.damaged_records, [""; 0], "{what}");
        // A run that computes nothing cleans nothing up.
        if summary
            .stages
            .iter()
            .any(|stage| stage.state == Outcome::Ran)
        {
            let attempts = std::fs::read_dir(self.fixture.cache().join("attempts")).unwrap();
            assert_eq!(attempts.count(), 0, "{what}");
        }
        let strays = strays(&self.fixture.cache());
        assert_eq!(strays, [""; 0], "{what}");
    }

    /// Past the test harness, which hides what passing tests print.
    fn tell(&self) {
        let mut stderr = std::io::stderr();
        let _ = writeln!(stderr, "chaos: {:#?}", self.counts);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the number of kills is no part of any result"
)]
fn wanted() -> usize {
    let asked = std::env::var("CHAOS_KILLS").ok();
    asked.map_or(KILLS, |asked| asked.parse().expect("CHAOS_KILLS: a number"))
}

#[test]
fn a_plain_run_mends_everything() {
    let mut chaos = Chaos::new(SEED);
    let wanted = wanted();
    let kinds = Disturbance::ALL.len().max(Damage::ALL.len());
    while chaos.kills() < wanted || chaos.counts.rounds < kinds {
        chaos.round();
        let rounds = chaos.counts.rounds;
        assert!(
            rounds < 20 * wanted + 100,
            "too few kills hit: {rounds} rounds"
        );
    }
    chaos.tell();
}
