// Attention over token trees: the results.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "tree.h"

namespace moreline {

template <typename S, typename C>
class Forward {
 public:
  Forward(const Projection<S>& projection, S* out, float* lse, std::int64_t tokens)
      : in_(projection), heads_(projection.heads), out_(out), lse_(lse), tokens_(tokens),
        scale_(1.0f / std::sqrt(static_cast<float>(heads_.size))) {}

  struct Scratch {
    std::vector<C> keys, values, rows, queries, weights;
    std::vector<float> scores, sums;
  };

  void operator()(const Tree& tree, std::int64_t head, Scratch& s) const {
    lay_out(tree, head, s);
    s.queries.resize(kQueries * heads_.size);
    s.scores.resize(tree.blocks * kBlock);
    s.sums.resize(kQueries * heads_.size);
    for_each_block(tree, [&](const Span& span, const std::vector<Sight>& seen, std::int64_t first,
                             std::int64_t count) {
      for (std::int64_t h = head * heads_.group(); h < (head + 1) * heads_.group(); ++h)
        attend(span.start + first, count, h, seen, s);
    });
  }

 private:
  // Every span's keys, transposed, and values as right operands.
  void lay_out(const Tree& tree, std::int64_t head, Scratch& s) const {
    std::int64_t size = kKeys * heads_.size;
    s.rows.resize(size);
    s.keys.resize(tree.blocks * size);
    s.values.resize(tree.blocks * size);
    for (const Span& span : tree.spans)
      for (std::int64_t b = 0; b < span.blocks(); ++b) {
        std::int64_t token = span.start + b * kKeys, count = std::min(kKeys, span.len - b * kKeys);
        std::int64_t at = (span.first_block + b) * size;
        take_rows(in_.key(token, head), heads_.width(), count, kKeys, heads_.size, s.rows.data());
        pack_transposed(s.rows.data(), kKeys, heads_.size, s.keys.data() + at);
        take_rows(in_.value(token, head), heads_.width(), count, kKeys, heads_.size, s.rows.data());
        pack(s.rows.data(), kKeys, heads_.size, s.values.data() + at);
      }
  }

  void attend(std::int64_t token, std::int64_t count, std::int64_t h,
              const std::vector<Sight>& seen, Scratch& s) const {
    std::int64_t size = heads_.size, panel = kKeys * size;
    take_rows(in_.query(token, h), heads_.width(), count, kQueries, size, s.queries.data());
    for (std::size_t b = 0; b < seen.size(); ++b)
      multiply_blocks(kQueries, kKeys, size, s.queries.data(),
                      s.keys.data() + seen[b].block * panel, s.scores.data() + b * kBlock, false);
    hide(seen, s.scores.data());
    auto blocks = static_cast<std::int64_t>(seen.size());
    float inverse[kQueries];
    for (std::int64_t i = 0; i < kQueries; ++i) {
      float lse = soften(s.scores.data() + i * kKeys, blocks, scale_, inverse + i);
      if (i < count) lse_[h * tokens_ + token + i] = lse;
    }
    const C* weights = rounded(s.scores.data(), blocks * kBlock, s.weights);
    for (std::size_t b = 0; b < seen.size(); ++b)
      multiply_blocks(kQueries, size, kKeys, weights + b * kBlock,
                      s.values.data() + seen[b].block * panel, s.sums.data(), b > 0);
    for (std::int64_t i = 0; i < count; ++i) {
      float* row = s.sums.data() + i * size;
      scale(row, inverse[i], row, size);
      Row<S>::store(row, out_ + ((token + i) * heads_.queries + h) * size, size);
    }
  }

  static void hide(const std::vector<Sight>& seen, float* scores) {
    for (const Sight& sight : seen) {
      for (std::int64_t i = 0; i < kQueries && !sight.whole(); ++i)
        std::fill(scores + i * kKeys + sight.seen(i), scores + (i + 1) * kKeys, kHidden);
      scores += kBlock;
    }
  }

  Projection<S> in_;
  Heads heads_;
  S* out_;
  float* lse_;
  std::int64_t tokens_;
  float scale_;
};

}  // namespace moreline
