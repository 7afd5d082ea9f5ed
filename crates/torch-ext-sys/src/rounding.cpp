// fp32 to bf16: up or down by a threshold that is hashed from the element's
// place. Over many elements the mean survives whatever grid they lie on, and
// nothing jitters from one call to the next.

#include "rounding.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <cstdint>

#include "clones.h"

namespace moreline {
namespace {

constexpr std::int64_t kGrain = 1 << 16;
constexpr std::uint32_t kExponent = 0x7f800000u;
constexpr std::uint32_t kMagnitude = 0x7fffffffu;
constexpr std::uint32_t kQuiet = 0x00400000u;
// A hash of 32 bits: two multiplications between three shifts.
constexpr std::uint32_t kFirst = 0x7feb352du, kSecond = 0x846ca68bu;

inline std::uint32_t threshold(std::uint32_t place) {
  place ^= place >> 16;
  place *= kFirst;
  place ^= place >> 15;
  place *= kSecond;
  place ^= place >> 16;
  return place & 0xffffu;
}

inline std::uint16_t rounded(std::uint32_t bits, std::uint32_t place) {
  std::uint32_t moved = bits + threshold(place);
  // Neither infinities nor NaNs move, and nothing finite becomes one.
  std::uint32_t kept = (bits & kMagnitude) > kExponent ? bits | kQuiet : bits;
  bool overflows = (moved & kExponent) == kExponent || (bits & kExponent) == kExponent;
  return static_cast<std::uint16_t>((overflows ? kept : moved) >> 16);
}

MORELINE_CLONES
void round_range(const std::uint32_t* __restrict from, std::uint16_t* __restrict to,
                 std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i)
    to[i] = rounded(from[i], static_cast<std::uint32_t>(i));
}

void check(const at::Tensor& from, const at::Tensor& to) {
  TORCH_CHECK(from.scalar_type() == at::kFloat && to.scalar_type() == at::kBFloat16,
              "dithered rounding is from fp32 to bf16");
  TORCH_CHECK(from.dim() == 1 && from.sizes() == to.sizes() && from.device() == to.device(),
              "dithered rounding takes flat tensors of one size on one device");
  TORCH_CHECK(from.is_contiguous() && to.is_contiguous(), "dithered rounding takes whole tensors");
}

// `x >> count` of int32 as if it had no sign.
at::Tensor shifted(const at::Tensor& x, std::int64_t count) {
  return x.bitwise_right_shift(count).bitwise_and((std::int64_t{1} << (32 - count)) - 1);
}

std::int64_t as_signed(std::uint32_t bits) { return static_cast<std::int32_t>(bits); }

at::Tensor thresholds(const at::Tensor& like) {
  at::Tensor x = at::arange(like.numel(), like.options().dtype(at::kInt));
  x = x.bitwise_xor(shifted(x, 16)).mul(as_signed(kFirst));
  x = x.bitwise_xor(shifted(x, 15)).mul(as_signed(kSecond));
  return x.bitwise_xor(shifted(x, 16)).bitwise_and(0xffff);
}

}  // namespace

void round_dithered(const at::Tensor& from, at::Tensor& to) {
  check(from, to);
  if (!from.is_cpu()) return round_dithered_by_operators(from, to);
  const auto* source = reinterpret_cast<const std::uint32_t*>(from.const_data_ptr<float>());
  auto* target = reinterpret_cast<std::uint16_t*>(to.mutable_data_ptr<at::BFloat16>());
  at::parallel_for(0, from.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    round_range(source, target, begin, end);
  });
}

void round_dithered_by_operators(const at::Tensor& from, at::Tensor& to) {
  check(from, to);
  at::NoGradGuard no_grad;
  at::Tensor bits = from.detach().view(at::kInt);
  at::Tensor moved = bits + thresholds(from);
  auto special = [](const at::Tensor& x) {
    return x.bitwise_and(as_signed(kExponent)).eq(as_signed(kExponent));
  };
  at::Tensor is_nan = from.detach().isnan();
  at::Tensor kept = at::where(is_nan, bits.bitwise_or(as_signed(kQuiet)), bits);
  at::Tensor found = at::where(special(moved).logical_or(special(bits)), kept, moved);
  to.copy_(found.bitwise_and(as_signed(0xffff0000u)).view(at::kFloat));
}

}  // namespace moreline
