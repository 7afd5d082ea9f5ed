use half::f16;
use serde_json::Value;

use super::dequantise::to_host;
use super::ggml_type::GgmlType;

fn values(ggml_type: GgmlType, bytes: &[u8]) -> Vec<f32> {
    to_host(ggml_type, bytes).into_f32()
}

fn block(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn half(x: f32) -> [u8; 2] {
    f16::from_f32(x).to_le_bytes()
}

/// Values by `gguf.quants.dequantize` of the published package, see `make_goldens.py`.
#[test]
fn random_blocks_equal_the_published_package() {
    let golden: Value =
        serde_json::from_str(include_str!("../../tests/golden/dequantised.json")).unwrap();
    for ggml_type in GgmlType::ALL.into_iter().filter(|t| *t != GgmlType::F32) {
        let case = &golden[ggml_type.name()];
        let hex = case["hex"].as_str().unwrap();
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let expected: Vec<f32> = case["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap() as f32)
            .collect();
        assert_eq!(values(ggml_type, &bytes), expected, "{}", ggml_type.name());
    }
}

#[test]
fn floats_are_little_endian() {
    assert_eq!(values(GgmlType::F32, &[0, 0, 0xC0, 0x3F]), [1.5]);
    assert_eq!(values(GgmlType::F16, &[0x00, 0xC0]), [-2.0]);
    assert_eq!(values(GgmlType::BF16, &[0x80, 0x3F]), [1.0]);
}

// By hand: nibbles 0x5 (low, first half) and 0xA (high, second half).
#[test]
fn four_bit_blocks_by_hand() {
    let q4_0 = values(GgmlType::Q4_0, &block(&[&half(2.0), &[0xA5; 16]]));
    assert_eq!(
        (q4_0[0], q4_0[15], q4_0[16], q4_0[31]),
        (-6.0, -6.0, 4.0, 4.0)
    );
    let q4_1 = values(
        GgmlType::Q4_1,
        &block(&[&half(0.5), &half(1.0), &[0xA5; 16]]),
    );
    assert_eq!((q4_1[0], q4_1[16]), (5.0 * 0.5 + 1.0, 10.0 * 0.5 + 1.0));
}

// Fifth bits: element 0 and element 31 only.
#[test]
fn five_bit_blocks_by_hand() {
    let high = 0x8000_0001_u32.to_le_bytes();
    let q5_0 = values(GgmlType::Q5_0, &block(&[&half(1.0), &high, &[0xA5; 16]]));
    assert_eq!(
        (q5_0[0], q5_0[1], q5_0[16], q5_0[31]),
        (5.0, -11.0, -6.0, 10.0)
    );
    let q5_1 = values(
        GgmlType::Q5_1,
        &block(&[&half(1.0), &half(-1.0), &high, &[0xA5; 16]]),
    );
    assert_eq!(
        (q5_1[0], q5_1[1], q5_1[16], q5_1[31]),
        (20.0, 4.0, 9.0, 25.0)
    );
}

#[test]
fn eight_bit_blocks_by_hand() {
    let q8_0 = values(
        GgmlType::Q8_0,
        &block(&[&half(0.25), &[0x7F, 0x80], &[4; 30]]),
    );
    assert_eq!((q8_0[0], q8_0[1], q8_0[31]), (31.75, -32.0, 1.0));
}

// Groups 0-3: scale 3, minimum 2. Groups 4-7: low nibble 1 of the last four bytes plus the top bits
// 0b10 of the first: scale 1 + 32 = 33; high nibble 4 plus the top bits 0b01 of the middle:
// minimum 4 + 16 = 20.
#[test]
fn k_blocks_with_packed_scales_by_hand() {
    let scales = [[0x83_u8; 4], [0x42; 4], [0x41; 4]].concat();
    let head = block(&[&half(1.0), &half(0.5), &scales]);
    let q4_k = values(GgmlType::Q4_K, &block(&[&head, &[0xA5; 128]]));
    assert_eq!((q4_k[0], q4_k[32]), (3.0 * 5.0 - 1.0, 3.0 * 10.0 - 1.0));
    assert_eq!(
        (q4_k[128], q4_k[255]),
        (33.0 * 5.0 - 10.0, 33.0 * 10.0 - 10.0)
    );
    // The fifth bit is set in group 0 and group 7.
    let q5_k = values(GgmlType::Q5_K, &block(&[&head, &[0x81; 32], &[0xA5; 128]]));
    assert_eq!((q5_k[0], q5_k[32]), (3.0 * 21.0 - 1.0, 3.0 * 10.0 - 1.0));
    assert_eq!(
        (q5_k[128], q5_k[255]),
        (33.0 * 5.0 - 10.0, 33.0 * 26.0 - 10.0)
    );
}

// Low nibbles 5 and 10, upper pairs 0b11_10_01_00 for the four quarters of each half, scales 2 and
// -1 for the two halves.
#[test]
fn q6_k_blocks_by_hand() {
    let bytes = block(&[&[0xA5; 128], &[0xE4; 64], &[2; 8], &[0xFF; 8], &half(0.5)]);
    let q6_k = values(GgmlType::Q6_K, &bytes);
    let quarters = [
        5.0 - 32.0,
        5.0 + 16.0 - 32.0,
        10.0 + 32.0 - 32.0,
        10.0 + 48.0 - 32.0,
    ];
    for (i, quarter) in quarters.into_iter().enumerate() {
        assert_eq!(q6_k[32 * i], quarter);
        assert_eq!(q6_k[128 + 32 * i + 31], -0.5 * quarter);
    }
}
