//! Files with bytes flipped or cut off: an error or a value, never a panic.

use std::path::Path;

use moreline_formats::safetensors::write_file;
use moreline_formats::{HostData, HostTensor, ModelConfig, WeightStore};
use proptest::prelude::*;

use crate::golden;

fn read_everything(path: &Path) {
    let _ = ModelConfig::load(path);
    if let Ok(store) = WeightStore::open(path) {
        for info in store.names() {
            if let Ok(tensor) = store.read(&info.name) {
                assert_eq!(tensor.data.len(), tensor.shape.iter().product::<usize>());
            }
        }
    }
}

/// Flips bytes (most of them early, where the header is) and maybe cuts the end off.
fn damage(bytes: &mut Vec<u8>, flips: &[(u16, u8)], cut: Option<u16>) {
    for &(at, value) in flips {
        let at = at as usize % bytes.len();
        bytes[at] = value;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut as usize % bytes.len());
    }
}

fn flips(header: u16) -> impl Strategy<Value = Vec<(u16, u8)>> {
    prop::collection::vec(
        (0..header, prop_oneof![any::<u8>(), Just(0xFF), Just(0)]),
        1..6,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn damaged_gguf_never_panics(flips in flips(1800), cut in prop::option::weighted(0.2, any::<u16>())) {
        let mut bytes = std::fs::read(golden("tiny.gguf")).unwrap();
        damage(&mut bytes, &flips, cut);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gguf");
        std::fs::write(&path, bytes).unwrap();
        read_everything(&path);
    }

    #[test]
    fn damaged_safetensors_never_panic(flips in flips(220), cut in prop::option::weighted(0.2, any::<u16>())) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let tensor = |n: usize| HostTensor { shape: vec![n, 2], data: HostData::F32(vec![1.0; 2 * n]) };
        write_file(&path, &[("first".into(), tensor(3)), ("second".into(), tensor(2))]).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes, &flips, cut);
        std::fs::write(&path, bytes).unwrap();
        read_everything(&path);
    }
}
