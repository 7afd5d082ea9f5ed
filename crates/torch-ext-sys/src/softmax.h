// The softmax of attention on blocks of scores, forward and backward.
#pragma once

#include <cstdint>
#include <limits>

#include "rows.h"

namespace moreline {

constexpr std::int64_t kQueries = 32;  // queries of a block
constexpr std::int64_t kKeys = 64;     // keys of a block
constexpr std::int64_t kBlock = kQueries * kKeys;
constexpr float kHidden = -std::numeric_limits<float>::infinity();

// One query's scores, `x` in each of `blocks` blocks [queries, keys], become
// e^(scale x - the largest); hidden ones 0. Gives the inverse of their sum, and
// returns ln of the sum of e^(scale x). Sixteen running sums: a fixed order.
MORELINE_CLONES
inline float soften(float* x, std::int64_t blocks, float scale, float* inverse) {
  constexpr std::int64_t kLanes = 16;
  float best[kLanes], sums[kLanes] = {};
  for (float& value : best) value = kHidden;
  for (std::int64_t b = 0; b < blocks; ++b)
    for (std::int64_t i = b * kBlock; i < b * kBlock + kKeys; i += kLanes)
      for (std::int64_t j = 0; j < kLanes; ++j) best[j] = x[i + j] > best[j] ? x[i + j] : best[j];
  float most = kHidden;
  for (float value : best) most = value > most ? value : most;
  float shift = scale * most;
  for (std::int64_t b = 0; b < blocks; ++b)
    for (std::int64_t i = b * kBlock; i < b * kBlock + kKeys; i += kLanes)
      for (std::int64_t j = 0; j < kLanes; ++j) {
        x[i + j] = exponential(scale * x[i + j] - shift);
        sums[j] += x[i + j];
      }
  float sum = 0;
  for (float value : sums) sum += value;
  *inverse = 1.0f / sum;
  return shift + std::log(sum);
}

// A block of scores [keys, queries] becomes the weights p = e^(scale s - lse),
// and `slopes`, the gradients of the weights, become those of the scores,
// p (slope - delta) scale.
MORELINE_CLONES
inline void soften_backward(float* __restrict scores, float* __restrict slopes,
                            const float* __restrict lse, const float* __restrict delta,
                            float scale) {
  for (std::int64_t j = 0; j < kKeys; ++j)
    for (std::int64_t i = 0; i < kQueries; ++i) {
      float weight = exponential(scale * scores[j * kQueries + i] - lse[i]);
      scores[j * kQueries + i] = weight;
      slopes[j * kQueries + i] = weight * (slopes[j * kQueries + i] - delta[i]) * scale;
    }
}

}  // namespace moreline
