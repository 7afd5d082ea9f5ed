//! Logits, hidden states and log-probabilities of seven small models, against
//! transformers (`tests/golden/README.md`).

use moreline_formats::{HostData, WeightStore};
use moreline_worker::batch::{Group, Packed};
use moreline_worker::lm_head::log_probabilities;
use moreline_worker::model::{Head, LoadedModel, host_to_tensor};
use moreline_worker::network;
use tch::{Kind, Tensor, no_grad};

use crate::common::{device, golden_dir};

pub(crate) const MODELS: [&str; 7] = [
    "llama-gqa-tied",
    "llama-mha-untied",
    "llama3-rope-scaled",
    "mistral",
    "neox-sequential",
    "pythia-parallel",
    "qwen2-bias",
];

/// Largest absolute difference of logits in fp32.
const TOLERANCE: f64 = 1e-4;

struct Golden {
    sequences: Vec<Vec<u32>>,
    store: WeightStore,
}

impl Golden {
    fn open(model: &str) -> Self {
        let path = golden_dir()
            .join("models")
            .join(model)
            .join("golden.safetensors");
        let store = WeightStore::open(&path).unwrap();
        let ids = integers(&store, "input_ids");
        let sequences = integers(&store, "lengths")
            .iter()
            .zip(ids.chunks(100))
            .map(|(&length, row)| row[..length as usize].iter().map(|&id| id as u32).collect())
            .collect();
        Self { sequences, store }
    }

    fn tensor(&self, name: &str) -> Tensor {
        host_to_tensor(self.store.read(name).unwrap()).to_kind(Kind::Float)
    }
}

fn integers(store: &WeightStore, name: &str) -> Vec<i64> {
    match store.read(name).unwrap().data {
        HostData::I64(values) => values,
        other => other.into_f32().iter().map(|&x| x as i64).collect(),
    }
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let apart = a.to_device(tch::Device::Cpu) - b.to_device(tch::Device::Cpu);
    apart.abs().max().double_value(&[])
}

#[test]
fn logits_and_hidden_states_equal_transformers() {
    for name in MODELS {
        let golden = Golden::open(name);
        let dir = golden_dir().join("models").join(name);
        let model = LoadedModel::open(&dir, Head::Language, Kind::Float, device()).unwrap();
        let decoder = &model.decoder;
        // All three rows in one packed batch: lengths 100, 57 and 1.
        let groups: Vec<Group> = golden
            .sequences
            .iter()
            .map(|s| Group::share(std::slice::from_ref(s)))
            .collect();
        let packed = Packed::new(&groups, &decoder.config, Kind::Float, device());
        let normed = no_grad(|| {
            let x = network::hidden(decoder, &model.flats, &packed);
            decoder.norm(&model.flats[decoder.norm_index()], &x)
        });
        let head = decoder.head_matrix(&model.flats[decoder.head_index()]);
        for (row, sequence) in golden.sequences.iter().enumerate() {
            let index: Vec<i64> = packed.indices(row, 0).collect();
            let mine = normed.index_select(0, &Tensor::from_slice(&index).to_device(device()));
            let expected =
                golden
                    .tensor("final_hidden")
                    .get(row as i64)
                    .narrow(0, 0, sequence.len() as i64);
            assert!(
                difference(&mine, &expected) < TOLERANCE,
                "{name} row {row}: hidden states"
            );
            let logits = mine.linear(&head, None::<&Tensor>);
            let expected = golden.tensor(&format!("logits_row{row}"));
            let worst = difference(&logits, &expected);
            assert!(
                worst < TOLERANCE,
                "{name} row {row}: logits differ by {worst}"
            );
            if sequence.len() > 1 {
                let labels: Vec<i64> = sequence[1..].iter().map(|&t| i64::from(t)).collect();
                let count = labels.len() as i64;
                let found = log_probabilities(
                    &mine.narrow(0, 0, count),
                    &head,
                    &Tensor::from_slice(&labels).to_device(device()),
                );
                let expected = golden
                    .tensor("next_token_logprob")
                    .get(row as i64)
                    .narrow(0, 0, count);
                assert!(
                    difference(&found, &expected) < TOLERANCE,
                    "{name} row {row}: log-probabilities"
                );
            }
        }
    }
}

/// A random tree computed shared and packed equals its sequences one by one.
#[test]
fn sharing_and_packing_change_nothing() {
    for name in ["llama-gqa-tied", "pythia-parallel"] {
        let dir = golden_dir().join("models").join(name);
        let model = LoadedModel::open(&dir, Head::Language, Kind::Float, device()).unwrap();
        let token = |i: usize| ((i * 7919 + 31) % 300 + 3) as u32;
        let sequence = |prompt: usize, tail: usize, salt: usize| -> Vec<u32> {
            (0..prompt)
                .map(token)
                .chain((0..tail).map(|i| token(i + salt)))
                .collect()
        };
        let rows = [
            vec![
                sequence(20, 7, 100),
                sequence(20, 31, 200),
                sequence(20, 1, 300),
            ],
            vec![sequence(9, 3, 400), sequence(9, 0, 0)],
            vec![sequence(60, 5, 500), sequence(60, 40, 600)],
            vec![sequence(2, 3, 700), sequence(2, 9, 800)],
        ];
        let shared: Vec<Group> = rows.iter().map(|r| Group::share(r)).collect();
        assert!(shared[0].tokens() < shared[0].tokens_unshared());
        let config = &model.decoder.config;
        let packed = Packed::new(&shared, config, Kind::Float, device());
        let together = network::hidden(&model.decoder, &model.flats, &packed);
        for (group, row) in rows.iter().enumerate() {
            for (number, sequence) in row.iter().enumerate() {
                let alone = Group::unshared(std::slice::from_ref(sequence));
                let single = Packed::new([&alone], config, Kind::Float, device());
                let expected = network::hidden(&model.decoder, &model.flats, &single);
                let index: Vec<i64> = packed.indices(group, number).collect();
                let found =
                    together.index_select(0, &Tensor::from_slice(&index).to_device(device()));
                assert!(
                    difference(&found, &expected) < 1e-4,
                    "{name}: group {group}, sequence {number}"
                );
            }
        }
    }
}
