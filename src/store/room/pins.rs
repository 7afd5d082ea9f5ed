//! Pins: results that cleaning leaves alone.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::plan::StageKey;
use crate::store::durable::{entries, make_dir, read_at_most, replace};
use crate::store::error::{AtPath, StoreError};
use crate::store::{Store, now_rfc3339};

/// Largest pin read, in bytes.
const MAX_PIN: u64 = 64 << 10;

/// A result that cleaning leaves alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The stage's key.
    pub key: StageKey,
    /// What it was called when it was pinned, if that is known.
    pub stage: Option<String>,
    /// When: RFC 3339, UTC.
    pub since: String,
}

impl Store {
    /// Pins a key, committed or not.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn pin_key(&self, key: &StageKey, stage: Option<&str>) -> Result<(), StoreError> {
        let pin = Pin {
            key: *key,
            stage: stage.map(str::to_owned),
            since: now_rfc3339(),
        };
        make_dir(&self.root.join("pins"))?;
        let bytes = serde_json::to_vec(&pin).unwrap_or_default();
        replace(&self.pin_path(key), &bytes, true)
    }

    /// Takes a pin away; false if there was none.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn unpin_key(&self, key: &StageKey) -> Result<bool, StoreError> {
        let path = self.pin_path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.at("remove", &path).map(|()| true),
        }
    }

    /// Every pin, in the order of their keys. One that is damaged still holds.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn pins(&self) -> Result<Vec<Pin>, StoreError> {
        let mut pins = Vec::new();
        for path in entries(&self.root.join("pins"))? {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(key) = name.and_then(|name| name.parse().ok()).map(StageKey) else {
                continue;
            };
            let bytes = read_at_most(&path, MAX_PIN).unwrap_or_default();
            let pin = serde_json::from_slice::<Pin>(&bytes);
            pins.push(pin.ok().filter(|pin| pin.key == key).unwrap_or(Pin {
                key,
                stage: None,
                since: String::new(),
            }));
        }
        Ok(pins)
    }

    fn pin_path(&self, key: &StageKey) -> PathBuf {
        self.root.join("pins").join(key.to_string())
    }
}
