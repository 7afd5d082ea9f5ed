//! TensorBoard event files of a run: `runs/ID/tensorboard/STAGE/`.
//!
//! The crates that write these files stand still, or want `protoc` or an image
//! library; scalars take two message types and a checksum, which are here.

mod message;
mod record;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::file_name;
use crate::event::RunEvent;
use crate::store::{host, nanos_now};

/// Turns the scalars of a run's events into files. A file that cannot be
/// written is no reason to fail: its stage then has none.
pub(super) struct TensorBoard {
    dir: PathBuf,
    files: Mutex<HashMap<String, Option<File>>>,
}

impl TensorBoard {
    /// Files below `dir`, which is made when there is something to write.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            files: Mutex::default(),
        }
    }

    /// Writes down the scalars of an event.
    pub(super) fn event(&self, event: &RunEvent) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            // A stage that is made anew within a run starts its curves anew.
            RunEvent::StageStarted { stage, .. } => {
                files.remove(stage);
                let _ = fs::remove_dir_all(self.dir.join(file_name(stage)));
            }
            RunEvent::Scalars {
                stage,
                step,
                values,
            } => {
                let open = || create(&self.dir.join(file_name(stage))).ok();
                let file = files.entry(stage.clone()).or_insert_with(open);
                let message = message::scalars(seconds(), *step, values);
                let written = file.as_mut().map(|file| append(file, &message));
                if let Some(Err(_)) = written {
                    *file = None;
                }
            }
            _ => {}
        }
    }
}

/// A new event file, named so that TensorBoard knows it.
fn create(dir: &Path) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    let now = seconds();
    let pid = std::process::id();
    let name = format!("events.out.tfevents.{:010}.{}.{pid}", now as u64, host());
    let mut file = File::create(dir.join(name))?;
    append(&mut file, &message::version(now))?;
    Ok(file)
}

/// A whole record in one write: whoever reads meanwhile sees none torn.
fn append(file: &mut File, message: &[u8]) -> io::Result<()> {
    file.write_all(&record::frame(message))
}

/// Seconds since 1970.
fn seconds() -> f64 {
    nanos_now() as f64 / 1e9
}
