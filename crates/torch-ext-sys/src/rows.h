// Row kernels on fp32 buffers, and rows of fp32 or bf16 tensors in and out of
// them. Each is compiled for several instruction sets and chosen at load time.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "clones.h"

namespace moreline {

MORELINE_CLONES
inline void load_bf16(const std::uint16_t* __restrict from, float* __restrict to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t bits = static_cast<std::uint32_t>(from[i]) << 16;
    std::memcpy(&to[i], &bits, sizeof bits);
  }
}

// Round to nearest, ties to even; NaN stays NaN.
MORELINE_CLONES
inline void store_bf16(const float* __restrict from, std::uint16_t* __restrict to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, &from[i], sizeof bits);
    std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    to[i] = static_cast<std::uint16_t>(nan ? 0x7fc0u : rounded);
  }
}

MORELINE_CLONES
inline void add_bf16(const std::uint16_t* __restrict from, float* __restrict to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t bits = static_cast<std::uint32_t>(from[i]) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof bits);
    to[i] += value;
  }
}

MORELINE_CLONES
inline void add_fp32(const float* __restrict from, float* __restrict to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += from[i];
}

// Rotates pairs (i, i + half) of one head by the given angles, in place.
MORELINE_CLONES
inline void rotate(float* __restrict head, const float* __restrict cos, const float* __restrict sin,
                   std::int64_t half, float sign) {
  for (std::int64_t i = 0; i < half; ++i) {
    float low = head[i], high = head[i + half], s = sign * sin[i];
    head[i] = low * cos[i] - high * s;
    head[i + half] = high * cos[i] + low * s;
  }
}

// Sixteen running sums: a fixed order that vectorises.
MORELINE_CLONES
inline float dot(const float* __restrict a, const float* __restrict b, std::int64_t n) {
  float sums[16] = {};
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (std::int64_t j = 0; j < 16; ++j) sums[j] += a[i + j] * b[i + j];
  float total = 0;
  for (; i < n; ++i) total += a[i] * b[i];
  for (float sum : sums) total += sum;
  return total;
}

MORELINE_CLONES
inline void scale(const float* __restrict x, float factor, float* __restrict out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = x[i] * factor;
}

MORELINE_CLONES
inline void multiply(const float* __restrict a, const float* __restrict b, float* __restrict out,
                     std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = a[i] * b[i];
}

MORELINE_CLONES
inline void multiply_add(const float* __restrict a, const float* __restrict b,
                         float* __restrict sum, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) sum[i] += a[i] * b[i];
}

// out = rstd (g - x_hat mean)
MORELINE_CLONES
inline void norm_backward(const float* __restrict g, const float* __restrict x_hat, float mean,
                          float rstd, float* __restrict out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = rstd * (g[i] - x_hat[i] * mean);
}

// Elements of two rows by turns.
MORELINE_CLONES
inline void interleave(const std::uint16_t* __restrict a, const std::uint16_t* __restrict b,
                       std::uint16_t* __restrict out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    out[2 * i] = a[i];
    out[2 * i + 1] = b[i];
  }
}

// e^x to about 1e-7 of itself; 0 below -87, e^88 above 88. A power of two by its
// bits, times a polynomial of degree 6 on [-ln 2 / 2, ln 2 / 2] (Taylor's).
__attribute__((always_inline)) inline float exponential(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  float y = x < -87.0f ? -87.0f : x;
  y = y > 88.0f ? 88.0f : y;
  float shifted = y * 1.44269504f + kRound;
  float power = shifted - kRound;
  float r = y - power * 0.693359375f + power * 2.12194440e-4f;
  float p = 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  std::int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits - 0x4b400000 + 127) << 23;
  float two;
  std::memcpy(&two, &bits, sizeof two);
  return x < -87.0f ? 0.0f : p * two;
}

// The gated product of one row, silu(gate) up; `out` may be `gate`.
MORELINE_CLONES
inline void gated(const float* gate, const float* up, float* out, std::int64_t n) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
}

// Its gradients, given that of the product; they replace gate and up.
MORELINE_CLONES
inline void gated_backward(float* __restrict gate, float* __restrict up,
                           const float* __restrict grad, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    float sigmoid = 1.0f / (1.0f + exponential(-gate[i]));
    float silu = gate[i] * sigmoid;
    float slope = sigmoid + silu * (1.0f - sigmoid);
    gate[i] = grad[i] * up[i] * slope;
    up[i] = grad[i] * silu;
  }
}

// Rows of an element type in and out of fp32 buffers.
template <typename T>
struct Row;

template <>
struct Row<float> {
  static void load(const float* from, float* to, std::int64_t n) {
    std::memcpy(to, from, sizeof(float) * n);
  }
  static void store(const float* from, float* to, std::int64_t n) {
    std::memcpy(to, from, sizeof(float) * n);
  }
  static void add(const float* from, float* to, std::int64_t n) { add_fp32(from, to, n); }
};

template <>
struct Row<std::uint16_t> {
  static void load(const std::uint16_t* from, float* to, std::int64_t n) { load_bf16(from, to, n); }
  static void store(const float* from, std::uint16_t* to, std::int64_t n) { store_bf16(from, to, n); }
  static void add(const std::uint16_t* from, float* to, std::int64_t n) { add_bf16(from, to, n); }
};

}  // namespace moreline
