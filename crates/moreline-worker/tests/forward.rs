//! `moreline-worker forward` against transformers (`tests/golden/README.md`),
//! and what it says about bad input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use moreline_formats::safetensors::{SafetensorsFile, write_file};
use moreline_formats::{HostData, HostTensor};
use tempfile::TempDir;

use crate::common::golden_dir;
use crate::golden_models::MODELS;

/// Largest absolute difference in fp32.
const TOLERANCE: f32 = 1e-4;

fn worker(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_moreline-worker"))
        .args(arguments)
        .env("OMP_NUM_THREADS", "1")
        .env("GOMP_SPINCOUNT", "2000")
        .output()
        .unwrap()
}

/// A folder with an input, and what the program makes of it.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn forward(&self, model: &Path, input: &Path, more: &[&str]) -> Output {
        let output = self.path("out.safetensors");
        let paths = [model, input, &output].map(|path| path.to_str().unwrap());
        let [model, input, output] = paths;
        let arguments = [
            "forward", "--model", model, "--input", input, "--output", output,
        ];
        worker(&[&arguments[..], more].concat())
    }

    /// The output, of a run that must succeed.
    fn output(&self, model: &Path, input: &Path, more: &[&str]) -> SafetensorsFile {
        let said = self.forward(model, input, more);
        let stderr = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && stderr.is_empty(), "{stderr}");
        SafetensorsFile::open(&self.path("out.safetensors")).unwrap()
    }

    fn write(&self, tensors: &[(&str, &[usize], HostData)]) -> PathBuf {
        let path = self.path("in.safetensors");
        let host = |(name, shape, data): &(&str, &[usize], HostData)| {
            let (shape, data) = (shape.to_vec(), data.clone());
            ((*name).to_owned(), HostTensor { shape, data })
        };
        write_file(&path, &tensors.iter().map(host).collect::<Vec<_>>()).unwrap();
        path
    }

    /// What a run that must fail says, without the folder's name.
    fn refusal(&self, tensors: &[(&str, &[usize], HostData)]) -> String {
        let input = self.write(tensors);
        let said = self.forward(&golden_model("llama-gqa-tied"), &input, &[]);
        assert_eq!(said.status.code(), Some(1));
        assert!(!self.path("out.safetensors").exists());
        let stderr = String::from_utf8(said.stderr).unwrap();
        stderr.replace(self.0.path().to_str().unwrap(), "DIR")
    }
}

fn golden_model(name: &str) -> PathBuf {
    golden_dir().join("models").join(name)
}

fn floats(file: &SafetensorsFile, name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = file.read(name).unwrap();
    (tensor.shape, tensor.data.into_f32())
}

fn assert_equal(found: &SafetensorsFile, expected: &SafetensorsFile, name: &str, tolerance: f32) {
    let (found, expected) = (floats(found, name), floats(expected, name));
    assert_eq!(found.0, expected.0, "{name}");
    for (i, (a, b)) in found.1.iter().zip(&expected.1).enumerate() {
        assert!(
            (a - b).abs() < tolerance,
            "{name}, element {i}: {a} is not {b}"
        );
    }
}

const OUTPUTS: [&str; 5] = [
    "final_hidden",
    "logits_row0",
    "logits_row1",
    "logits_row2",
    "next_token_logprob",
];

#[test]
fn numbers_are_those_of_transformers() {
    for name in MODELS {
        let bench = Bench::new();
        let model = golden_model(name);
        // The golden file has the inputs too; other tensors are no matter.
        let golden = model.join("golden.safetensors");
        let found = bench.output(&model, &golden, &[]);
        let expected = SafetensorsFile::open(&golden).unwrap();
        let mut names: Vec<&str> = found.tensors().map(|info| info.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, OUTPUTS);
        for output in OUTPUTS {
            assert_equal(&found, &expected, output, TOLERANCE);
        }
    }
}

#[test]
fn bf16_is_close_and_not_the_same() {
    let bench = Bench::new();
    let model = golden_model("llama-gqa-tied");
    let golden = model.join("golden.safetensors");
    let found = bench.output(&model, &golden, &["--precision", "bf16"]);
    let expected = SafetensorsFile::open(&golden).unwrap();
    for output in OUTPUTS {
        // Hidden states are about 1, with eight bits of mantissa.
        assert_equal(&found, &expected, output, 0.1);
    }
    let (bf16, fp32) = (
        floats(&found, "logits_row0"),
        floats(&expected, "logits_row0"),
    );
    assert_ne!(bf16, fp32);
}

/// The golden rows as int32, and one that begins like the first: shared in the
/// computation, the same in the output.
#[test]
fn short_integers_and_shared_beginnings() {
    let bench = Bench::new();
    let model = golden_model("pythia-parallel");
    let golden = SafetensorsFile::open(&model.join("golden.safetensors")).unwrap();
    let HostData::I64(ids) = golden.read("input_ids").unwrap().data else {
        panic!("int64");
    };
    let as_i32 = |values: &[i64]| -> Vec<u8> {
        let values = values.iter().map(|&value| i32::try_from(value).unwrap());
        values.flat_map(i32::to_le_bytes).collect()
    };
    let first = &ids[..100];
    let data = [as_i32(first), as_i32(first), as_i32(&[100, 40])].concat();
    let header = r#"{"input_ids":{"dtype":"I32","shape":[2,100],"data_offsets":[0,800]},"lengths":{"dtype":"I32","shape":[2],"data_offsets":[800,808]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    let input = bench.path("in.safetensors");
    std::fs::write(&input, [&length, header.as_bytes(), &data].concat()).unwrap();
    let found = bench.output(&model, &input, &[]);
    assert_equal(&found, &golden, "logits_row0", TOLERANCE);
    let (shape, logits) = floats(&found, "logits_row1");
    assert_eq!(shape, [40, 320]);
    let (_, expected) = floats(&golden, "logits_row0");
    for (a, b) in logits.iter().zip(&expected) {
        assert!((a - b).abs() < TOLERANCE);
    }
    // Forty tokens have 39 that follow another; the rest is zero.
    let (shape, logprobs) = floats(&found, "next_token_logprob");
    assert_eq!(shape, [2, 99]);
    assert!(logprobs[99..99 + 39].iter().all(|value| *value < 0.0));
    assert!(logprobs[99 + 39..].iter().all(|value| *value == 0.0));
    let (_, hidden) = floats(&found, "final_hidden");
    assert!(hidden[(100 + 40) * 64..].iter().all(|value| *value == 0.0));
}

#[test]
fn a_single_column_has_no_next_token() {
    let bench = Bench::new();
    let input = bench.write(&[
        ("input_ids", &[1, 1], HostData::I64(vec![7])),
        ("lengths", &[1], HostData::I64(vec![1])),
    ]);
    let found = bench.output(&golden_model("llama-gqa-tied"), &input, &[]);
    assert_eq!(floats(&found, "next_token_logprob"), (vec![1, 0], vec![]));
    assert_eq!(floats(&found, "logits_row0").0, [1, 320]);
}

fn i64s(values: &[i64]) -> HostData {
    HostData::I64(values.to_vec())
}

#[test]
fn bad_input_is_named() {
    let ids = || ("input_ids", &[2, 3][..], i64s(&[1, 2, 3, 4, 5, 6]));
    let lengths = || ("lengths", &[2][..], i64s(&[3, 2]));
    let cases = [
        ("missing", vec![ids()]),
        (
            "floats",
            vec![("input_ids", &[1, 1], HostData::F32(vec![1.0])), lengths()],
        ),
        (
            "flat",
            vec![("input_ids", &[6], i64s(&[1, 2, 3, 4, 5, 6])), lengths()],
        ),
        (
            "no columns",
            vec![("input_ids", &[2, 0], i64s(&[])), lengths()],
        ),
        ("another count", vec![ids(), ("lengths", &[1], i64s(&[3]))]),
        ("length 0", vec![ids(), ("lengths", &[2], i64s(&[3, 0]))]),
        ("length 4", vec![ids(), ("lengths", &[2], i64s(&[4, 1]))]),
        (
            "negative length",
            vec![ids(), ("lengths", &[2], i64s(&[-1, 1]))],
        ),
        (
            "large id",
            vec![
                ("input_ids", &[2, 3], i64s(&[1, 2, 3, 4, 320, 6])),
                lengths(),
            ],
        ),
        (
            "negative id",
            vec![
                ("input_ids", &[2, 3], i64s(&[1, 2, -3, 4, 5, 6])),
                lengths(),
            ],
        ),
        (
            "too long",
            vec![
                ("input_ids", &[1, 257], i64s(&[3; 257])),
                ("lengths", &[1], i64s(&[257])),
            ],
        ),
    ];
    let mut said = String::new();
    for (case, tensors) in cases {
        said += &format!("{case}:\n{}", Bench::new().refusal(&tensors));
    }
    insta::assert_snapshot!(said);
}

/// Padding may hold anything: only what is within a length is looked at.
#[test]
fn padding_is_not_looked_at() {
    let bench = Bench::new();
    let input = bench.write(&[
        ("input_ids", &[1, 3], i64s(&[7, 8, -100])),
        ("lengths", &[1], i64s(&[2])),
    ]);
    bench.output(&golden_model("llama-gqa-tied"), &input, &[]);
}

#[test]
fn the_command_line_is_checked() {
    let said = worker(&["forward", "--model", "m"]);
    assert_eq!(said.status.code(), Some(2));
    let stderr = String::from_utf8(said.stderr).unwrap();
    assert!(stderr.starts_with("`--input` is missing\n"), "{stderr}");
    let said = worker(&["forward", "--help"]);
    assert!(said.status.success());
    let help = String::from_utf8(said.stdout).unwrap();
    assert!(help.contains("next_token_logprob"), "{help}");
    let bench = Bench::new();
    let model = golden_model("llama-gqa-tied");
    let golden = model.join("golden.safetensors");
    let said = bench.forward(&model, &golden, &["--device", "tpu"]);
    assert_eq!(said.status.code(), Some(1));
    let stderr = String::from_utf8(said.stderr).unwrap();
    assert!(stderr.contains("use the device `tpu`"), "{stderr}");
}
