use half::f16;
use moreline_formats::gguf::Gguf;
use moreline_formats::model_config::{Architecture, RopeScaling};
use moreline_formats::{FormatError, ModelConfig, WeightStore};

use crate::{golden, golden_json};

/// `tiny.gguf` was written by the published package; `tiny.json` holds Hugging Face's view of it.
#[test]
fn tensors_come_under_hugging_face_names_and_row_order() {
    let store = WeightStore::open(&golden("tiny.gguf")).unwrap();
    let expected = golden_json("tiny.json");
    let expected = expected.as_object().unwrap();
    assert_eq!(store.names().count(), expected.len());
    for (name, want) in expected {
        let tensor = store.read(name).unwrap();
        assert_eq!(serde_json::json!(tensor.shape), want["shape"], "{name}");
        let values = tensor.data.into_f32();
        for (got, want) in values.iter().zip(want["head"].as_array().unwrap()) {
            assert_eq!(f64::from(*got), want.as_f64().unwrap(), "{name}");
        }
        let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
        assert!((sum - want["sum"].as_f64().unwrap()).abs() < 1e-6, "{name}");
    }
}

#[test]
fn the_configuration_comes_from_the_metadata() {
    let config = ModelConfig::load(&golden("tiny.gguf")).unwrap();
    assert_eq!(config.architecture, Architecture::Llama);
    assert_eq!(
        (
            config.vocab_size,
            config.hidden_size,
            config.intermediate_size
        ),
        (40, 32, 64)
    );
    assert_eq!(
        (
            config.layers,
            config.heads,
            config.kv_heads,
            config.head_dim
        ),
        (1, 4, 2, 8)
    );
    assert_eq!(
        (config.norm_eps, config.rope.theta, config.max_positions),
        (1e-5, 50000.0, 128)
    );
    assert_eq!(config.rope.scaling, RopeScaling::None);
    assert_eq!(
        (config.bos_id, config.eos_id(), config.pad_id),
        (Some(1), Some(2), None)
    );
    assert!(config.tied && !config.qkv_bias && !config.mlp_bias);
}

/// A header written by hand, byte by byte.
struct Header(Vec<u8>);

impl Header {
    fn new(tensors: u64, keys: u64) -> Self {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(keys.to_le_bytes());
        Self(bytes)
    }

    fn string(mut self, text: &str) -> Self {
        self.0.extend((text.len() as u64).to_le_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    fn u32(mut self, x: u32) -> Self {
        self.0.extend(x.to_le_bytes());
        self
    }

    fn u64(mut self, x: u64) -> Self {
        self.0.extend(x.to_le_bytes());
        self
    }

    fn tensor(self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let start = self.string(name).u32(dims.len() as u32);
        dims.iter()
            .fold(start, |h, &d| h.u64(d))
            .u32(kind)
            .u64(offset)
    }

    fn data(mut self, bytes: &[u8]) -> Self {
        self.0.resize(self.0.len().next_multiple_of(32), 0);
        self.0.extend(bytes);
        self
    }

    fn open(self) -> Result<Gguf, FormatError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made.gguf");
        std::fs::write(&path, self.0).unwrap();
        Gguf::open(&path)
    }

    /// The error's text, without the directory.
    fn error(self) -> String {
        let text = self.open().unwrap_err().to_string();
        assert!(text.contains("made.gguf"), "{text}");
        text
    }
}

#[test]
fn a_file_made_by_hand_is_read() {
    let halves: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]
        .iter()
        .flat_map(|&x| f16::from_f32(x).to_le_bytes())
        .collect();
    let file = Header::new(1, 2)
        .string("a.number")
        .u32(4)
        .u32(7)
        .string("a.list")
        .u32(9)
        .u32(8)
        .u64(2)
        .string("x")
        .string("yz")
        .tensor("w", &[3, 2], 1, 0)
        .data(&halves)
        .open()
        .unwrap();
    assert_eq!(file.unsigned("a.number").unwrap(), Some(7));
    let list = file.array("a.list").unwrap().unwrap();
    assert_eq!(list.strings().unwrap(), ["x", "yz"]);
    let tensor = file.read(file.tensor("w").unwrap()).unwrap();
    assert_eq!(tensor.shape, [2, 3]);
    assert_eq!(tensor.data.into_f32(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let wrong = file.flag("a.number").unwrap_err().to_string();
    assert!(
        wrong.contains("`a.number`") && wrong.contains("bool"),
        "{wrong}"
    );
}

#[test]
fn lying_headers_are_refused_before_anything_is_allocated() {
    let huge = u64::MAX / 2;
    let cases = [
        (Header::new(huge, 0), "tensor entries"),
        (Header::new(0, huge), "metadata entries"),
        (Header::new(0, 1).u64(huge).u64(0).u64(0), "a metadata key"),
        (
            Header::new(0, 1).string("k").u32(8).u64(huge),
            "a metadata string",
        ),
        (
            Header::new(0, 1).string("k").u32(9).u32(12).u64(huge),
            "metadata array",
        ),
        (
            Header::new(0, 1).string("k").u32(9).u32(9).u64(1),
            "array of arrays",
        ),
        (Header::new(0, 1).string("k").u32(77).u64(1), "77 is not"),
        (
            Header::new(0, 2)
                .string("k")
                .u32(4)
                .u32(1)
                .string("k")
                .u32(4)
                .u32(1),
            "`k` occurs twice",
        ),
        (Header::new(1, 0).tensor("w", &[1; 5], 0, 0), "5 dimensions"),
        (
            Header::new(1, 0).tensor("w", &[huge, huge], 0, 0),
            "overflows",
        ),
        (Header::new(1, 0).tensor("w", &[33], 8, 0), "multiple of 32"),
        (Header::new(1, 0).tensor("w", &[32], 10, 0), "Q2_K"),
        (
            Header::new(1, 0).tensor("w", &[1], 0, 3).data(&[0; 64]),
            "not aligned",
        ),
        (
            Header::new(1, 0)
                .tensor("w", &[1], 0, u64::MAX - 31)
                .data(&[0; 64]),
            "overflows",
        ),
        (
            Header::new(1, 0).tensor("w", &[17], 0, 0).data(&[0; 64]),
            "truncated",
        ),
    ];
    for (header, expected) in cases {
        let text = header.error();
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn tensors_must_not_share_a_name_or_bytes() {
    let twice = Header::new(2, 0)
        .tensor("w", &[1], 0, 0)
        .tensor("w", &[1], 0, 32)
        .data(&[0; 64]);
    assert!(twice.error().contains("`w`"));
    let overlap = Header::new(2, 0)
        .tensor("a", &[9], 0, 0)
        .tensor("b", &[1], 0, 32)
        .data(&[0; 64]);
    assert!(overlap.error().contains("overlaps that of `a`"));
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let mut big_endian = Header::new(0, 0);
    big_endian.0[4..8].copy_from_slice(&3_u32.to_be_bytes());
    assert!(big_endian.error().contains("big-endian"));
    let mut version = Header::new(0, 0);
    version.0[4..8].copy_from_slice(&9_u32.to_le_bytes());
    assert!(version.error().contains("version is 9"));
    let mut magic = Header::new(0, 0);
    magic.0[0] = b'X';
    assert!(magic.error().contains("does not begin as a GGUF file"));
}
