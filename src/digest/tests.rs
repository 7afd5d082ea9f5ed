//! Digests and the encoding against the standard and a pinned example.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn encoded(value: &Value) -> Digest {
    let mut encoder = Canonical::new("test");
    encoder.json(value);
    encoder.finish()
}

#[test]
fn reading_ahead_changes_nothing() {
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 7 * CHUNK + 5] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let ahead = Digest::of_reader_ahead(&mut &bytes[..]).unwrap();
        assert_eq!(ahead, (Digest::of(&bytes), size as u64));
    }
}

#[test]
fn a_failure_while_reading_ahead_is_told() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let error = Digest::of_reader_ahead(&mut Broken).unwrap_err();
    assert_eq!(error.to_string(), "the disk is gone");
}

#[test]
fn digests_are_sha_256() {
    // FIPS 180-4, the one-block example.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Digest::of(b"abc").to_string(), expected);
    let (streamed, bytes) = Digest::of_reader(&mut &b"abc"[..]).unwrap();
    assert_eq!((streamed.to_string().as_str(), bytes), (expected, 3));
    assert_eq!(expected.parse(), Ok(Digest::of(b"abc")));
}

#[test]
fn other_texts_are_no_digests() {
    let good = Digest::of(b"abc").to_string();
    for bad in [
        "",
        "ab",
        &good.to_uppercase(),
        &good[1..],
        &format!("{good}0"),
    ] {
        assert!(bad.parse::<Digest>().is_err(), "{bad}");
    }
    let json = serde_json::to_string(&Digest::of(b"abc")).unwrap();
    assert_eq!(
        serde_json::from_str::<Digest>(&json).unwrap(),
        Digest::of(b"abc")
    );
    assert!(serde_json::from_str::<Digest>("\"no\"").is_err());
}

#[test]
fn order_and_nulls_do_not_count_but_everything_else_does() {
    let base = json!({"a": 1, "b": [0.5, "x"]});
    assert_eq!(
        encoded(&base),
        encoded(&serde_json::from_str(r#"{"b": [0.5, "x"], "c": null, "a": 1}"#).unwrap())
    );
    for other in [
        json!({"a": 1.0, "b": [0.5, "x"]}),
        json!({"a": -1, "b": [0.5, "x"]}),
        json!({"a": "1", "b": [0.5, "x"]}),
        json!({"a": true, "b": [0.5, "x"]}),
        json!({"a": 1, "b": ["x", 0.5]}),
        json!({"a": 1, "b": [0.5, ["x"]]}),
        json!({"a": 1, "b": [0.500_000_000_000_000_1, "x"]}),
        json!({"ab": 1, "": [0.5, "x"]}),
    ] {
        assert_ne!(encoded(&base), encoded(&other), "{other}");
    }
}

#[test]
fn the_encoding_is_pinned() {
    let mut encoder = Canonical::new("pin");
    encoder
        .u64(7)
        .optional_u64(None)
        .optional_u64(Some(u64::MAX))
        .digest(&Digest::of(b"abc"))
        .json(&json!({"z": [null, false, true, 3, -3, 1e-5], "a": {"é": "ß"}}));
    // SHA-256 of the bytes the table above describes, put together by hand.
    let mut bytes = Vec::new();
    let mut push = |part: &[u8]| bytes.extend_from_slice(part);
    let int = |value: u64| value.to_le_bytes();
    push(&int(3));
    push(b"pin");
    push(&int(7));
    push(&[0, 1]);
    push(&[0xff; 8]);
    push(&Digest::of(b"abc").0);
    push(&[8]);
    push(&int(2));
    push(&int(1));
    push(b"a");
    push(&[8]);
    push(&int(1));
    push(&int(2));
    push("é".as_bytes());
    push(&[6]);
    push(&int(2));
    push("ß".as_bytes());
    push(&int(1));
    push(b"z");
    push(&[7]);
    push(&int(6));
    push(&[0, 1, 2, 3]);
    push(&int(3));
    push(&[4]);
    push(&(-3i64).to_le_bytes());
    push(&[5]);
    push(&1e-5f64.to_bits().to_le_bytes());
    assert_eq!(encoder.finish(), Digest::of(&bytes));
}

proptest! {
    #[test]
    fn neighbouring_strings_do_not_run_together(a in ".*", b in ".*", c in ".*", d in ".*") {
        let pair = |x: &str, y: &str| {
            let mut encoder = Canonical::new("test");
            encoder.str(x).str(y);
            encoder.finish()
        };
        prop_assert_eq!(pair(&a, &b) == pair(&c, &d), (&a, &b) == (&c, &d));
    }

    #[test]
    fn digests_survive_their_text(bytes: Vec<u8>) {
        let digest = Digest::of(&bytes);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
    }
}
