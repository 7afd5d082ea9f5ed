use half::{bf16, f16};
use moreline_formats::safetensors::{
    SafetensorsFile, TensorSpec, write_file, write_lazily, write_model,
};
use moreline_formats::{Dtype, FormatError, HostData, HostTensor, WeightStore};

fn tensor(shape: &[usize], data: HostData) -> HostTensor {
    HostTensor {
        shape: shape.to_vec(),
        data,
    }
}

fn sample() -> Vec<(String, HostTensor)> {
    vec![
        (
            "b".into(),
            tensor(&[2], HostData::Bf16(vec![bf16::ONE, bf16::from_f32(-2.5)])),
        ),
        (
            "a".into(),
            tensor(&[1, 3], HostData::F32(vec![1.0, 2.0, 3.0])),
        ),
        ("step".into(), tensor(&[], HostData::I64(vec![-7]))),
        (
            "h".into(),
            tensor(&[1], HostData::F16(vec![f16::from_f32(0.5)])),
        ),
        ("none".into(), tensor(&[0, 4], HostData::F32(vec![]))),
    ]
}

/// Opens a file made of a header and data; the error's text names it.
fn open(header: &str, data: &[u8]) -> Result<SafetensorsFile, String> {
    let bytes = [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        data,
    ]
    .concat();
    open_bytes(&bytes)
}

fn open_bytes(bytes: &[u8]) -> Result<SafetensorsFile, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.safetensors");
    std::fs::write(&path, bytes).unwrap();
    SafetensorsFile::open(&path).map_err(|e| {
        assert!(e.to_string().contains("made.safetensors"), "{e}");
        e.to_string()
    })
}

#[test]
fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    write_file(&path, &sample()).unwrap();
    let file = SafetensorsFile::open(&path).unwrap();
    assert_eq!(file.metadata()["format"], "pt");
    for (name, tensor) in sample() {
        assert_eq!(file.read(&name).unwrap(), tensor, "{name}");
    }
    let absent = file.read("zz").unwrap_err().to_string();
    assert!(absent.contains("`zz`"), "{absent}");
}

#[test]
fn the_bytes_are_fixed_by_the_content() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("1"), dir.path().join("2"));
    let mut reversed = sample();
    reversed.reverse();
    write_file(&one, &sample()).unwrap();
    write_file(&two, &reversed).unwrap();
    let bytes = std::fs::read(&one).unwrap();
    assert_eq!(bytes, std::fs::read(&two).unwrap());
    let header = r#"{"__metadata__":{"format":"pt"},"step":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[1,3],"data_offsets":[8,20]},"none":{"dtype":"F32","shape":[0,4],"data_offsets":[20,20]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[20,24]},"h":{"dtype":"F16","shape":[1],"data_offsets":[24,26]}}"#;
    assert_eq!(
        std::str::from_utf8(&bytes[8..8 + header.len()]).unwrap(),
        header
    );
    assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()) % 8, 0);
}

#[test]
fn doubles_are_narrowed_and_other_types_listed_only() {
    let header = r#"{"d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"u":{"dtype":"U8","shape":[2],"data_offsets":[8,10]}}"#;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let data = [&1.5_f64.to_le_bytes()[..], &[1, 2]].concat();
    std::fs::write(
        &path,
        [
            &(header.len() as u64).to_le_bytes(),
            header.as_bytes(),
            &data,
        ]
        .concat(),
    )
    .unwrap();
    let store = WeightStore::open(&path).unwrap();
    assert_eq!(store.read("d").unwrap().data, HostData::F32(vec![1.5]));
    assert_eq!(store.get("u").unwrap().dtype, Dtype::Other("U8"));
    let text = store.read("u").unwrap_err().to_string();
    assert!(text.contains("`u`") && text.contains("U8"), "{text}");
}

#[test]
fn short_integers_are_widened() {
    let header = r#"{"i":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}}"#;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let length = (header.len() as u64).to_le_bytes();
    let data = [(-3_i32).to_le_bytes(), i32::MAX.to_le_bytes()].concat();
    std::fs::write(&path, [&length, header.as_bytes(), &data].concat()).unwrap();
    let store = WeightStore::open(&path).unwrap();
    assert_eq!(store.get("i").unwrap().dtype, Dtype::I32);
    let data = store.read("i").unwrap().data;
    assert_eq!(data, HostData::I64(vec![-3, i32::MAX.into()]));
}

#[test]
fn lazy_writing_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (eager, lazy) = (dir.path().join("1"), dir.path().join("2"));
    write_file(&eager, &sample()).unwrap();
    let specs: Vec<TensorSpec> = sample()
        .iter()
        .map(|(name, tensor)| TensorSpec {
            name: name.clone(),
            dtype: tensor.data.dtype(),
            shape: tensor.shape.clone(),
        })
        .collect();
    let tensors: std::collections::HashMap<_, _> = sample().into_iter().collect();
    let read = |spec: &TensorSpec| Ok::<_, FormatError>(tensors[&spec.name].clone());
    write_lazily(&lazy, &specs, read).unwrap();
    assert_eq!(
        std::fs::read(&eager).unwrap(),
        std::fs::read(&lazy).unwrap()
    );
    let twice = [specs[0].clone(), specs[0].clone()];
    assert!(write_lazily(&lazy, &twice, read).is_err());
}

#[test]
fn lying_headers_are_refused() {
    let one = |body: &str| format!(r#"{{"w":{{{body}}}}}"#);
    let cases = [
        (
            one(r#""dtype":"F32","shape":[2],"data_offsets":[0,12]"#),
            "not within",
        ),
        (
            one(r#""dtype":"F32","shape":[3],"data_offsets":[0,8]"#),
            "does not fill",
        ),
        (
            one(r#""dtype":"F32","shape":[2],"data_offsets":[8,0]"#),
            "not within",
        ),
        (
            one(r#""dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]"#),
            "overflows",
        ),
        (
            one(r#""dtype":"Q9","shape":[2],"data_offsets":[0,8]"#),
            "`Q9` is unknown",
        ),
        (
            one(r#""dtype":"F32","shape":[-2],"data_offsets":[0,8]"#),
            "not valid",
        ),
        (
            one(r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#),
            "4 bytes follow",
        ),
        (
            one(r#""dtype":"F32","shape":[1],"data_offsets":[4,8]"#),
            "leaves a hole",
        ),
        ("{}".into(), "8 bytes follow"),
        ("[]".into(), "not valid"),
        ("{".into(), "not valid"),
    ];
    for (header, expected) in cases {
        let text = open(&header, &[0; 8]).unwrap_err();
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn tensors_must_not_share_a_name_or_bytes() {
    let entry = |at: &str| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":{at}}}"#);
    let twice = format!(r#"{{"w":{},"w":{}}}"#, entry("[0,4]"), entry("[4,8]"));
    assert!(open(&twice, &[0; 8]).unwrap_err().contains("`w`"));
    let overlap = format!(r#"{{"a":{},"b":{}}}"#, entry("[0,4]"), entry("[0,4]"));
    assert!(open(&overlap, &[0; 4]).unwrap_err().contains("overlaps"));
}

#[test]
fn truncated_files_are_refused() {
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let whole = [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &[0; 8],
    ]
    .concat();
    open_bytes(&whole).unwrap();
    for length in 0..whole.len() {
        assert!(open_bytes(&whole[..length]).is_err(), "{length} bytes");
    }
    let huge = [&u64::MAX.to_le_bytes(), header.as_bytes()].concat();
    assert!(
        open_bytes(&huge)
            .unwrap_err()
            .contains("announces a header")
    );
}

#[test]
fn a_large_model_is_sharded_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let spec = |i: usize| TensorSpec {
        name: format!("t{i}"),
        dtype: Dtype::F32,
        shape: vec![i + 1],
    };
    let specs: Vec<_> = (0..5).rev().map(spec).collect();
    let make = |spec: &TensorSpec| {
        Ok::<_, FormatError>(tensor(&spec.shape, HostData::F32(vec![0.5; spec.shape[0]])))
    };
    // 4, 8 | 12 | 16 | 20 bytes: the last one is larger than a shard.
    let files = write_model(dir.path(), &specs, 16, make).unwrap();
    let names: Vec<_> = files
        .iter()
        .map(|f| f.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names[0], "model-00001-of-00004.safetensors");
    assert_eq!(names[4], "model.safetensors.index.json");
    let store = WeightStore::open(dir.path()).unwrap();
    assert_eq!(store.names().count(), 5);
    assert_eq!(store.read("t4").unwrap().shape, [5]);
}

#[test]
fn a_tensor_that_differs_from_its_spec_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let specs = [TensorSpec {
        name: "w".into(),
        dtype: Dtype::F32,
        shape: vec![2],
    }];
    let wrong_shape =
        |_: &TensorSpec| Ok::<_, FormatError>(tensor(&[3], HostData::F32(vec![0.0; 3])));
    let text = write_model(dir.path(), &specs, 1 << 20, wrong_shape)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("[3]") && text.contains("[2]") && text.contains("`w`"),
        "{text}"
    );
    let wrong_type = |_: &TensorSpec| Ok::<_, FormatError>(tensor(&[2], HostData::I64(vec![0; 2])));
    assert!(write_model(dir.path(), &specs, 1 << 20, wrong_type).is_err());
}
