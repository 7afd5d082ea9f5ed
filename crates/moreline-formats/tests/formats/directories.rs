use std::path::Path;

use moreline_formats::safetensors::write_file;
use moreline_formats::{HostData, HostTensor, WeightStore};

fn shard(path: &Path, name: &str) {
    let tensor = HostTensor {
        shape: vec![2, 1],
        data: HostData::F32(vec![1.0, 2.0]),
    };
    write_file(path, &[(name.to_owned(), tensor)]).unwrap();
}

fn index(dir: &Path, map: &str) {
    let text = format!(r#"{{"metadata":{{}},"weight_map":{map}}}"#);
    std::fs::write(dir.join("model.safetensors.index.json"), text).unwrap();
}

fn error(dir: &Path) -> String {
    WeightStore::open(dir).unwrap_err().to_string()
}

#[test]
fn shards_are_found_by_the_index() {
    let dir = tempfile::tempdir().unwrap();
    shard(&dir.path().join("one.safetensors"), "a");
    shard(&dir.path().join("two.safetensors"), "b");
    index(
        dir.path(),
        r#"{"a":"one.safetensors","b":"two.safetensors"}"#,
    );
    let store = WeightStore::open(dir.path()).unwrap();
    assert!(store.contains("a") && store.contains("b"));
    assert_eq!(store.read("b").unwrap().data, HostData::F32(vec![1.0, 2.0]));
    let wrong = store.read_shaped("a", &[3, 1]).unwrap_err().to_string();
    assert!(wrong.contains("[2, 1]") && wrong.contains("[3, 1]") && wrong.contains("`a`"));
}

#[test]
fn a_missing_shard_is_named() {
    let dir = tempfile::tempdir().unwrap();
    index(dir.path(), r#"{"a":"one.safetensors"}"#);
    assert!(error(dir.path()).contains("one.safetensors is missing"));
}

#[test]
fn a_tensor_that_the_shard_lacks_is_named() {
    let dir = tempfile::tempdir().unwrap();
    shard(&dir.path().join("one.safetensors"), "a");
    index(
        dir.path(),
        r#"{"a":"one.safetensors","b":"one.safetensors"}"#,
    );
    let text = error(dir.path());
    assert!(
        text.contains("`b`") && text.contains("one.safetensors"),
        "{text}"
    );
}

#[test]
fn shards_outside_the_directory_are_refused() {
    let outer = tempfile::tempdir().unwrap();
    shard(&outer.path().join("one.safetensors"), "a");
    let dir = outer.path().join("model");
    std::fs::create_dir(&dir).unwrap();
    for escape in [
        "../one.safetensors",
        "/etc/one.safetensors",
        "x/../../one.safetensors",
        "..",
    ] {
        index(&dir, &format!(r#"{{"a":"{escape}"}}"#));
        let text = error(&dir);
        assert!(
            text.contains(escape) && text.contains("not a .safetensors file"),
            "{text}"
        );
    }
}

#[test]
fn a_directory_without_weights_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    assert!(error(dir.path()).contains("neither model.safetensors nor"));
    std::fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    assert!(error(dir.path()).contains("save the model with safetensors"));
    index(dir.path(), "{}");
    assert!(error(dir.path()).contains("empty"));
}
