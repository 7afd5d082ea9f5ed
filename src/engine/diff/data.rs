//! Data that differ: which rows came and went, by the digests of the rows.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::PathBuf;

use moreline_protocol::artifact::{ArtifactType, roles};
use moreline_protocol::job::RowRange;
use moreline_protocol::spec::StageKind;
use serde::Serialize;

use super::pairing::Partner;
use super::side::{Side, SideSource};
use crate::digest::Digest;
use crate::plan::{Change, InputVersion};
use crate::store::{RowDigest, RowDigests, Store};

/// Rows of which a comparison gives the digests.
const SHOWN: usize = 20;

/// Digests of the bytes on the first and on the second side.
type Digests = (Digest, Digest);

/// What a source of rows or weights is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataKind {
    /// A preference set.
    Data,
    /// A prompt set.
    Prompts,
    /// Responses made elsewhere.
    Responses,
    /// A model.
    Model,
    /// What a stage gave, and another takes.
    Output,
}

impl DataKind {
    /// The kind's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Prompts => "prompts",
            Self::Responses => "responses",
            Self::Model => "model",
            Self::Output => "output",
        }
    }
}

/// A source that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataDiff {
    /// Its name in the experiment.
    pub name: String,
    /// What it is.
    pub kind: DataKind,
    /// Where it is on the first side; absent if it is not there.
    pub a: Option<DataSide>,
    /// Where it is on the second side.
    pub b: Option<DataSide>,
    /// Which rows came and went, if the bytes differ and are rows.
    pub rows: Option<Rows>,
}

/// A source on one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataSide {
    /// Its file, model, or stage.
    pub place: String,
    /// Digest of its bytes; absent if they are not there, or no stage takes it.
    pub digest: Option<Digest>,
    /// The rows taken.
    pub rows: RowRange,
}

/// Which rows came and went.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "known", rename_all = "kebab-case")]
pub enum Rows {
    /// Both sides' rows are known.
    Both {
        /// Rows that are on both sides, wherever they stand.
        common: u64,
        /// Rows that only the second side has.
        added: RowChanges,
        /// Rows that only the first side has.
        removed: RowChanges,
    },
    /// They are not.
    Unknown {
        /// Of which side, and why.
        why: String,
    },
}

/// Rows that one side alone has. A row that is there twice counts twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowChanges {
    /// How many.
    pub rows: u64,
    /// The digests of the first twenty by digest: half a SHA-256 over the row's
    /// value, in hexadecimal.
    pub digests: Vec<String>,
}

/// The sources that differ.
pub(super) fn compare(a: &Side, b: &Side, partners: &[Option<Partner>]) -> Vec<DataDiff> {
    let mut found = Vec::new();
    let names: BTreeSet<&String> = a.sources.keys().chain(b.sources.keys()).collect();
    for name in names {
        let (old, new) = (a.sources.get(name), b.sources.get(name));
        if differ(old, new) {
            let kind = new.or(old).map_or(DataKind::Data, |source| source.kind);
            found.push(DataDiff {
                name: name.clone(),
                kind,
                rows: source_rows((a, old), (b, new)),
                a: old.map(DataSide::of),
                b: new.map(DataSide::of),
            });
        }
    }
    found.extend(outputs(a, b, partners));
    found
}

/// Whether a source differs, as far as its bytes are known.
fn differ(old: Option<&SideSource>, new: Option<&SideSource>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => {
            let bytes = old.digest.zip(new.digest).is_some_and(|(a, b)| a != b);
            let gone = old.digest.is_some() && new.digest.is_none();
            bytes || gone || old.kind != new.kind || old.rows != new.rows
        }
        (only_one, other) => only_one.is_some() || other.is_some(),
    }
}

impl DataSide {
    fn of(source: &SideSource) -> Self {
        Self {
            place: source.place.clone(),
            digest: source.digest,
            rows: source.rows,
        }
    }
}

fn source_rows(a: (&Side, Option<&SideSource>), b: (&Side, Option<&SideSource>)) -> Option<Rows> {
    let (old, new) = (a.1?, b.1?);
    let (digests, paths) = (
        old.digest.zip(new.digest)?,
        (old.path.as_ref()?, new.path.as_ref()?),
    );
    if digests.0 == digests.1 {
        return None;
    }
    let places = [paths.0.clone(), paths.1.clone()];
    Some(between(a.0, b.0, digests, &places))
}

/// What stages gave otherwise, where others take it as rows.
fn outputs(a: &Side, b: &Side, partners: &[Option<Partner>]) -> Vec<DataDiff> {
    let mut found: Vec<(DataDiff, Digests)> = Vec::new();
    for (stage, partner) in b.stages.iter().zip(partners) {
        let Some(partner) = partner else { continue };
        for change in super::pairing::changes(&a.stages[partner.index], stage) {
            let Some((diff, digests)) = output(stage.version.kind, &change) else {
                continue;
            };
            if !found.iter().any(|(_, known)| *known == digests) {
                found.push((diff, digests));
            }
        }
    }
    let with_rows = |(diff, digests)| DataDiff {
        rows: Some(between(a, b, digests, &[])),
        ..diff
    };
    found.into_iter().map(with_rows).collect()
}

/// The output of a stage that a changed input is, if it is rows.
fn output(kind: StageKind, change: &Change) -> Option<(DataDiff, Digests)> {
    let Change::Input {
        role,
        old: Some(old),
        new: Some(new),
    } = change
    else {
        return None;
    };
    let digests = old.digest.zip(new.digest).filter(|(a, b)| a != b)?;
    let side = |input: &InputVersion| {
        Some(DataSide {
            place: input.stage.clone()?,
            digest: input.digest,
            rows: input.rows,
        })
    };
    let diff = DataDiff {
        name: new.stage.clone()?,
        kind: DataKind::Output,
        a: side(old),
        b: side(new),
        rows: None,
    };
    is_rows(kind, role).then_some((diff, digests))
}

/// True for a field that takes rows.
fn is_rows(kind: StageKind, role: &str) -> bool {
    let models = [ArtifactType::LanguageModel, ArtifactType::RewardModel];
    let mut roles = roles(kind).iter().filter(|decl| decl.field == role);
    roles.any(|decl| {
        !decl
            .accepts
            .iter()
            .any(|artifact| models.contains(artifact))
    })
}

/// The rows that came and went between two files, by their digests.
fn between(a: &Side, b: &Side, (old, new): Digests, places: &[PathBuf]) -> Rows {
    let stores = [&*a.store, &*b.store];
    let rows = |digest: &Digest, side: &str| {
        rows_of(digest, &stores, places).ok_or_else(|| {
            format!(
                "the rows of {side} ({}) are not kept: neither the file nor the digests of its \
                 rows are there any more",
                digest.short()
            )
        })
    };
    let both = rows(&old, "A").and_then(|old| Ok((old, rows(&new, "B")?)));
    let merged = both.and_then(|(old, new)| {
        merge(old, new).map_err(|error| format!("the rows cannot be compared: {error}"))
    });
    merged.unwrap_or_else(|why| Rows::Unknown { why })
}

/// The digests of the rows of the file of a digest: kept, or of an object, or of
/// a file that still holds these bytes.
fn rows_of(file: &Digest, stores: &[&Store], places: &[PathBuf]) -> Option<RowDigests> {
    if let Some(rows) = stores.iter().find_map(|store| store.kept_rows(file)) {
        return Some(rows);
    }
    let object = stores.iter().find_map(|store| store.object_file(file));
    let holds = |path: &&PathBuf| {
        stores[0]
            .digest_file(path)
            .is_ok_and(|found| found == *file)
    };
    let path = object.or_else(|| places.iter().find(holds).cloned())?;
    RowDigests::of_file(&path)
}

/// Compares two sorted lists, one row of each in memory.
fn merge(mut old: RowDigests, mut new: RowDigests) -> std::io::Result<Rows> {
    let (mut added, mut removed) = (RowChanges::default(), RowChanges::default());
    let mut common = 0;
    let (mut a, mut b) = (old.next().transpose()?, new.next().transpose()?);
    loop {
        let order = match (&a, &b) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.cmp(b),
        };
        match (order, &a, &b) {
            (Ordering::Less, Some(row), _) => removed.count(row),
            (Ordering::Greater, _, Some(row)) => added.count(row),
            _ => common += 1,
        }
        if order != Ordering::Greater {
            a = old.next().transpose()?;
        }
        if order != Ordering::Less {
            b = new.next().transpose()?;
        }
    }
    Ok(Rows::Both {
        common,
        added,
        removed,
    })
}

impl RowChanges {
    fn count(&mut self, row: &RowDigest) {
        self.rows += 1;
        if self.digests.len() < SHOWN {
            self.digests
                .push(row.iter().map(|byte| format!("{byte:02x}")).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> RowDigests {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        std::fs::write(&path, text).unwrap();
        RowDigests::of_file(&path).unwrap()
    }

    fn counts(old: &str, new: &str) -> (u64, u64, u64) {
        match merge(of(old), of(new)).unwrap() {
            Rows::Both {
                common,
                added,
                removed,
            } => (common, added.rows, removed.rows),
            Rows::Unknown { why } => panic!("{why}"),
        }
    }

    #[test]
    fn rows_are_counted_as_often_as_they_are_there() {
        assert_eq!(counts("1\n2\n3\n", "3\n2\n1\n"), (3, 0, 0));
        assert_eq!(counts("1\n1\n2\n", "1\n2\n2\n4\n"), (2, 2, 1));
        assert_eq!(counts("1\n", "2\n"), (0, 1, 1));
    }
}
