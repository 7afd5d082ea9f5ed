//! Block formats to floats. The layouts are those of ggml's `ggml-common.h`; each function turns
//! one block of bytes into its elements.

use half::{bf16, f16};

use super::ggml_type::GgmlType;
use crate::tensor::HostData;

/// Every element of a tensor's bytes, whose length is a whole number of blocks.
pub(super) fn to_host(ggml_type: GgmlType, bytes: &[u8]) -> HostData {
    let blocks = bytes.chunks_exact(ggml_type.block_bytes());
    match ggml_type {
        GgmlType::F32 => HostData::F32(
            blocks
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        ),
        GgmlType::F16 => HostData::F16(blocks.map(|b| f16::from_le_bytes([b[0], b[1]])).collect()),
        GgmlType::BF16 => {
            HostData::Bf16(blocks.map(|b| bf16::from_le_bytes([b[0], b[1]])).collect())
        }
        GgmlType::Q4_0 => each_block(ggml_type, blocks, q4_0),
        GgmlType::Q4_1 => each_block(ggml_type, blocks, q4_1),
        GgmlType::Q5_0 => each_block(ggml_type, blocks, q5_0),
        GgmlType::Q5_1 => each_block(ggml_type, blocks, q5_1),
        GgmlType::Q8_0 => each_block(ggml_type, blocks, q8_0),
        GgmlType::Q4_K => each_block(ggml_type, blocks, q4_k),
        GgmlType::Q5_K => each_block(ggml_type, blocks, q5_k),
        GgmlType::Q6_K => each_block(ggml_type, blocks, q6_k),
    }
}

fn each_block<'a>(
    ggml_type: GgmlType,
    blocks: impl ExactSizeIterator<Item = &'a [u8]>,
    one: fn(&[u8], &mut [f32]),
) -> HostData {
    let mut out = vec![0.0; blocks.len() * ggml_type.block_len()];
    for (block, elements) in blocks.zip(out.chunks_exact_mut(ggml_type.block_len())) {
        one(block, elements);
    }
    HostData::F32(out)
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Scale, 16 bytes of nibbles: low nibbles are the first half, high ones the second.
fn q4_0(block: &[u8], out: &mut [f32]) {
    let scale = half_at(block, 0);
    for (i, &byte) in block[2..].iter().enumerate() {
        out[i] = (f32::from(byte & 15) - 8.0) * scale;
        out[i + 16] = (f32::from(byte >> 4) - 8.0) * scale;
    }
}

fn q4_1(block: &[u8], out: &mut [f32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (i, &byte) in block[4..].iter().enumerate() {
        out[i] = f32::from(byte & 15) * scale + minimum;
        out[i + 16] = f32::from(byte >> 4) * scale + minimum;
    }
}

/// The 5-bit values of `Q5_0` and `Q5_1`: nibbles, and the fifth bits in one little-endian word.
fn five_bits(high: &[u8], nibbles: &[u8], mut put: impl FnMut(usize, f32)) {
    let high = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
    for (i, &byte) in nibbles.iter().enumerate() {
        let fifth = |at: usize| ((high >> at) as u8 & 1) << 4;
        put(i, f32::from(byte & 15 | fifth(i)));
        put(i + 16, f32::from(byte >> 4 | fifth(i + 16)));
    }
}

fn q5_0(block: &[u8], out: &mut [f32]) {
    let scale = half_at(block, 0);
    five_bits(&block[2..6], &block[6..], |i, q| {
        out[i] = (q - 16.0) * scale
    });
}

fn q5_1(block: &[u8], out: &mut [f32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    five_bits(&block[4..8], &block[8..], |i, q| {
        out[i] = q * scale + minimum
    });
}

fn q8_0(block: &[u8], out: &mut [f32]) {
    let scale = half_at(block, 0);
    for (o, &byte) in out.iter_mut().zip(&block[2..]) {
        *o = f32::from(byte.cast_signed()) * scale;
    }
}

/// The 6-bit scale and minimum of group `i` of eight, packed in twelve bytes: the first four
/// groups whole, the others as a nibble and two bits borrowed from the first bytes' tops.
fn scale_and_minimum(packed: &[u8], i: usize) -> (f32, f32) {
    let (scale, minimum) = if i < 4 {
        (packed[i] & 63, packed[i + 4] & 63)
    } else {
        let scale = (packed[i + 4] & 15) | ((packed[i - 4] >> 6) << 4);
        let minimum = (packed[i + 4] >> 4) | ((packed[i] >> 6) << 4);
        (scale, minimum)
    };
    (f32::from(scale), f32::from(minimum))
}

fn q4_k(block: &[u8], out: &mut [f32]) {
    let (d, d_min) = (half_at(block, 0), half_at(block, 2));
    let (packed, nibbles) = (&block[4..16], &block[16..]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(packed, group);
        let (scale, minimum) = (d * scale, d_min * minimum);
        let shift = 4 * (group % 2);
        for (o, &byte) in out.iter_mut().zip(&nibbles[32 * (group / 2)..]) {
            *o = scale * f32::from(byte >> shift & 15) - minimum;
        }
    }
}

fn q5_k(block: &[u8], out: &mut [f32]) {
    let (d, d_min) = (half_at(block, 0), half_at(block, 2));
    let (packed, high, nibbles) = (&block[4..16], &block[16..48], &block[48..]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(packed, group);
        let (scale, minimum) = (d * scale, d_min * minimum);
        let shift = 4 * (group % 2);
        for (i, o) in out.iter_mut().enumerate() {
            let low = nibbles[32 * (group / 2) + i] >> shift & 15;
            let fifth = (high[i] >> group & 1) << 4;
            *o = scale * f32::from(low | fifth) - minimum;
        }
    }
}

/// Two halves of 128; in each, 64 bytes of low nibbles, 32 bytes of upper bit pairs and eight
/// signed scales, one for 16 elements.
fn q6_k(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 208);
    for (half, out) in out.chunks_exact_mut(128).enumerate() {
        let low = &block[64 * half..64 * half + 64];
        let high = &block[128 + 32 * half..128 + 32 * half + 32];
        let scales = &block[192 + 8 * half..192 + 8 * half + 8];
        for (i, o) in out.iter_mut().enumerate() {
            let (quarter, at) = (i / 32, i % 32);
            let nibble = low[i % 64] >> (4 * (quarter / 2)) & 15;
            let pair = (high[at] >> (2 * quarter) & 3) << 4;
            let value = f32::from(nibble | pair) - 32.0;
            *o = d * f32::from(scales[i / 16].cast_signed()) * value;
        }
    }
}
