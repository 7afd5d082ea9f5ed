//! fp32 masters to bf16 copies.

use tch::{Kind, Tensor};
use torch_ext_sys::{round_dithered, round_dithered_by_operators};

use crate::common::device;

const MANY: i64 = 1 << 18;

fn dithered(from: &Tensor) -> Tensor {
    let mut to = from.to_kind(Kind::BFloat16);
    round_dithered(from, &mut to);
    to.to_kind(Kind::Float)
}

/// Both signs, many magnitudes.
fn spread(count: i64) -> Tensor {
    let i = Tensor::arange(count, (Kind::Double, device()));
    let sign = i.remainder(2.0) * 2.0 - 1.0;
    let magnitude = ((&i * 0.618_033_988_75).frac() * 40.0 - 20.0).exp2();
    (sign * magnitude).to_kind(Kind::Float)
}

#[test]
fn an_element_goes_to_one_of_its_two_neighbours() {
    let x = spread(MANY);
    let found = dithered(&x);
    // bf16 has 8 bits: neighbours are at most 2^-7 of the lower one apart.
    let error = (&found - &x).abs() / x.abs();
    assert!(error.max().double_value(&[]) < 2f64.powi(-7));
    let nearest = x.to_kind(Kind::BFloat16).to_kind(Kind::Float);
    assert_eq!(
        dithered(&nearest),
        nearest,
        "what bf16 holds stays as it is"
    );
    let same = |a: &Tensor, b: &Tensor| (a.sign() - b.sign()).abs().max().double_value(&[]);
    assert_eq!(same(&found, &x), 0.0);
    // Where they lie anywhere between two neighbours, half of them go up.
    let up = (found.abs() - x.abs()).gt(0.0).to_kind(Kind::Float);
    let share = up.mean(Kind::Double).double_value(&[]);
    assert!((share - 0.5).abs() < 0.01, "{share}");
}

#[test]
fn steps_that_bf16_cannot_resolve_survive_on_average() {
    // bf16 resolves 2^-10 above 0.125 and half of that below.
    let weights = Tensor::full(MANY, 0.125, (Kind::Float, device()));
    let mut moved = weights.copy();
    for steps in 1..=20 {
        let _ = moved.g_add_scalar_(2e-5);
        let mean = dithered(&moved).mean(Kind::Double).double_value(&[]);
        let wanted = f64::from(steps) * 2e-5;
        // Standard error of the share that goes up: 2^-10 / 2 / sqrt(2^18).
        assert!(
            (mean - 0.125 - wanted).abs() < 5e-6,
            "{steps} steps: {mean}"
        );
        assert_eq!(dithered(&-&moved), -dithered(&moved));
    }
    let lost = (&weights + 2e-5).to_kind(Kind::BFloat16);
    let gone = lost.to_kind(Kind::Float) - &weights;
    assert_eq!(gone.abs().max().double_value(&[]), 0.0, "nearest loses it");
}

#[test]
fn the_operators_of_other_devices_give_the_same_bits() {
    let special = [
        0.0,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::from_bits(0x3f80_ffff),
    ];
    let special = Tensor::from_slice(&special).to_device(device());
    let x = Tensor::cat(&[special, spread(70_000)], 0);
    let found = dithered(&x);
    let mut other = x.to_kind(Kind::BFloat16);
    round_dithered_by_operators(&x, &mut other);
    assert_eq!(other.to_kind(Kind::Float), found);
    let finite = x.isfinite();
    assert_eq!(found.isfinite(), finite, "nothing finite becomes infinite");
    let nan = Tensor::from_slice(&[f32::NAN, f32::from_bits(0x7f80_0001)]).to_device(device());
    assert_eq!(dithered(&nan).isnan().all().int64_value(&[]), 1);
    let mut other = nan.to_kind(Kind::BFloat16);
    round_dithered_by_operators(&nan, &mut other);
    assert_eq!(other.isnan().all().int64_value(&[]), 1);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let x = spread(300_000);
    let whole = dithered(&x);
    // So few are one thread's work.
    let part = dithered(&x.narrow(0, 0, 1000).contiguous());
    assert_eq!(whole.narrow(0, 0, 1000), part);
}
