//! TensorBoard event files in the run's folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::fixture::Fixture;

/// The event files of all runs.
fn event_files(fixture: &Fixture) -> Vec<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let runs = list(&fixture.cache().join("runs")).into_iter();
    let stages = runs.flat_map(|run| list(&run.join("tensorboard")));
    stages.flat_map(|stage| list(&stage)).collect()
}

/// CRC-32C bit by bit, masked as TensorFlow does.
fn masked(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The records of a file, every checksum checked.
fn records(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut take = |count: usize| -> Vec<u8> {
        let (taken, after) = rest.split_at(count);
        rest = after;
        taken.to_vec()
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let mut records = Vec::new();
    let mut left = bytes.len();
    while left > 0 {
        let length = take(8);
        assert_eq!(number(&take(4)), u64::from(masked(&length)));
        let data = take(number(&length) as usize);
        assert_eq!(number(&take(4)), u64::from(masked(&data)));
        left -= 16 + data.len();
        records.push(data);
    }
    records
}

#[test]
fn scalars_reach_an_event_file_per_stage() {
    let fixture = Fixture::new();
    fixture.order("curve.rm");
    assert!(fixture.run().is_complete());
    let files = event_files(&fixture);
    let [file] = files.as_slice() else {
        panic!("{files:?}");
    };
    assert!(file.parent().unwrap().ends_with("tensorboard/rm"));
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("events.out.tfevents."), "{name}");
    let records = records(file);
    assert_eq!(records.len(), 3);
    assert!(records[0].ends_with(b"brain.Event:2"));
    // Nine bytes of wall time; then step, and a summary of two values.
    let second = [
        &[16, 2, 42, 31, 10, 16, 10, 9][..],
        b"eval/loss",
        &[21, 0, 0, 128, 62],
    ];
    let loss = [&[10, 11, 10, 4][..], b"loss", &[21, 0, 0, 0, 63]];
    assert_eq!(records[2][9..], [second.concat(), loss.concat()].concat());
    // A cached stage has no curve in the next run.
    fixture.run();
    assert_eq!(event_files(&fixture).len(), 1);
}

#[test]
fn a_site_can_do_without() {
    let mut fixture = Fixture::new();
    fixture.order("curve.rm");
    fixture.site.tensorboard = Some(false);
    assert!(fixture.run().is_complete());
    assert!(event_files(&fixture).is_empty());
}
