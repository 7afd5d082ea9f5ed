// Small matrices for the block products of attention: rows in, operands of
// libtorch's block product out. C is the element type of the products, fp32 or
// bf16 (as its bits). A right operand of bf16 holds the elements of two
// neighbouring rows side by side, as the instructions want them.
#pragma once

#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "rows.h"

namespace moreline {

using Bits = std::uint16_t;

// c[m, n] (+)= a[m, k] b[k, n], fp32 sums. Rows of `a` lie side by side, `b` is
// packed.
inline void multiply_blocks(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                            const float* b, float* c, bool add) {
  at::native::cpublas::brgemm(m, n, k, k, n, n, add, a, b, c, /*is_vnni=*/false);
}

inline void multiply_blocks(std::int64_t m, std::int64_t n, std::int64_t k, const Bits* a,
                            const Bits* b, float* c, bool add) {
  at::native::cpublas::brgemm(m, n, k, k, n, n, add, reinterpret_cast<const at::BFloat16*>(a),
                              reinterpret_cast<const at::BFloat16*>(b), c, /*is_vnni=*/true);
}

// `n` values in the element type of the products: themselves, or in `room`.
inline const float* rounded(const float* from, std::int64_t, std::vector<float>&) { return from; }
inline const Bits* rounded(const float* from, std::int64_t n, std::vector<Bits>& room) {
  room.resize(n);
  store_bf16(from, room.data(), n);
  return room.data();
}

// A tensor's elements as those of the products.
inline void convert(const float* from, float* to, std::int64_t n) {
  std::memcpy(to, from, sizeof(float) * n);
}
inline void convert(const Bits* from, Bits* to, std::int64_t n) {
  std::memcpy(to, from, sizeof(Bits) * n);
}
inline void convert(const Bits* from, float* to, std::int64_t n) { load_bf16(from, to, n); }

// `count` rows of `width` elements, `stride` apart, and zeros up to `rows` rows.
template <typename S, typename C>
void take_rows(const S* from, std::int64_t stride, std::int64_t count, std::int64_t rows,
               std::int64_t width, C* to) {
  for (std::int64_t r = 0; r < count; ++r) convert(from + r * stride, to + r * width, width);
  std::memset(to + count * width, 0, sizeof(C) * (rows - count) * width);
}

// to[c, r] = from[r, c].
template <typename E>
void transpose(const E* from, std::int64_t rows, std::int64_t columns, E* to) {
  for (std::int64_t r = 0; r < rows; r += 16)
    for (std::int64_t c = 0; c < columns; ++c)
      for (std::int64_t i = r; i < std::min(r + 16, rows); ++i)
        to[c * rows + i] = from[i * columns + c];
}

// `from` [rows, columns] as a right operand.
inline void pack(const float* from, std::int64_t rows, std::int64_t columns, float* to) {
  std::memcpy(to, from, sizeof(float) * rows * columns);
}
inline void pack(const Bits* from, std::int64_t rows, std::int64_t columns, Bits* to) {
  for (std::int64_t r = 0; r < rows; r += 2)
    interleave(from + r * columns, from + (r + 1) * columns, to + r * columns, columns);
}

// The transpose of `from` [rows, columns] as a right operand [columns, rows].
inline void pack_transposed(const float* from, std::int64_t rows, std::int64_t columns, float* to) {
  transpose(from, rows, columns, to);
}
inline void pack_transposed(const Bits* from, std::int64_t rows, std::int64_t columns, Bits* to) {
  // Two neighbouring elements stay together.
  transpose(reinterpret_cast<const std::uint32_t*>(from), rows, columns / 2,
            reinterpret_cast<std::uint32_t*>(to));
}

}  // namespace moreline
