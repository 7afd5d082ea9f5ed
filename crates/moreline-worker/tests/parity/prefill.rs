//! What a packed forward pass leaves for decoding: every layer's rotated keys
//! and values, and the hidden states. (The cache they are put into is compared
//! beside its code, in `generate::cache`.)

use std::cell::RefCell;

use moreline_worker::batch::{AttentionPlan, Group, Packed, micro};
use moreline_worker::model::layers::Attend;
use moreline_worker::model::{Head, LoadedModel};
use moreline_worker::network::hidden_with;
use proptest::prelude::*;
use tch::{Kind, Tensor, no_grad};

use super::TOLERANCE;
use super::forest::{budget, cases, groups, model};
use super::reference::{Reference, assert_close};
use crate::common::{device, golden_dir};

/// Attends as planned and remembers keys and values.
struct Remembering<'a> {
    attention: &'a AttentionPlan,
    seen: RefCell<Vec<[Tensor; 2]>>,
}

impl Attend for Remembering<'_> {
    fn attend(&self, layer: usize, q_tnd: &Tensor, k_tkd: &Tensor, v_tkd: &Tensor) -> Tensor {
        let seen = [k_tkd.copy(), v_tkd.copy()];
        self.seen.borrow_mut().push(seen);
        self.attention.attend(layer, q_tnd, k_tkd, v_tkd)
    }
}

fn check(name: &str, groups: &[Vec<Vec<u32>>], budget: usize) {
    tch::set_num_threads(1);
    let dir = golden_dir().join("models").join(name);
    let reference = Reference::open(&dir);
    let model = LoadedModel::open(&dir, Head::Language, Kind::Float, device()).unwrap();
    let (decoder, flats) = (&model.decoder, &model.flats);
    let trees: Vec<Group> = groups.iter().map(|group| Group::share(group)).collect();
    let sizes: Vec<usize> = trees.iter().map(Group::tokens).collect();
    for run in micro::cut(&sizes, budget) {
        let packed = Packed::new(&trees[run.clone()], &decoder.config, Kind::Float, device());
        let attention = Remembering {
            attention: &packed.attention,
            seen: RefCell::default(),
        };
        let x = hidden_with(decoder, flats, &packed, &attention);
        let hidden = no_grad(|| decoder.norm(&flats[decoder.norm_index()], &x));
        let cached = attention.seen.into_inner();
        assert_eq!(cached.len(), decoder.config.layers);
        for (group, sequences) in groups[run].iter().enumerate() {
            for (number, sequence) in sequences.iter().enumerate() {
                let index: Vec<i64> = packed.indices(group, number).collect();
                let index = Tensor::from_slice(&index).to_device(device());
                let expected = no_grad(|| reference.states(sequence));
                let own = |x: &Tensor| x.index_select(0, &index);
                assert_close(&own(&hidden), &expected.hidden, TOLERANCE, "hidden states");
                for (found, expected) in cached.iter().zip(&expected.cached) {
                    assert_close(&own(&found[0]), &expected[0], TOLERANCE, "keys");
                    assert_close(&own(&found[1]), &expected[1], TOLERANCE, "values");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn keys_and_values_equal_one_sequence_at_a_time(
        name in model(), groups in groups(), budget in budget(),
    ) {
        check(name, &groups, budget);
    }
}
