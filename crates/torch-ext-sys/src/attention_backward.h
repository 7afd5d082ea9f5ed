// Attention over token trees: the gradients.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "tree.h"

namespace moreline {

template <typename S, typename C>
class Backward {
 public:
  // What the forward pass left, and the gradient of its result.
  struct Saved {
    const S *out, *grad;
    const float *lse, *cos, *sin;
    std::int64_t tokens;
  };

  Backward(const Projection<S>& projection, const Saved& saved, S* grad_projection)
      : in_(projection), heads_(projection.heads), saved_(saved), to_(grad_projection),
        scale_(1.0f / std::sqrt(static_cast<float>(heads_.size))) {}

  struct Scratch {
    std::vector<C> keys, values, keys_t, rows, grads, q, q_t, g, g_t, weights, slopes, packed;
    std::vector<float> grad_keys, grad_values, scores, products, grad_q, turned;
    float lse[kQueries], delta[kQueries];
  };

  void operator()(const Tree& tree, std::int64_t head, Scratch& s) const {
    lay_out(tree, head, s);
    for_each_block(tree, [&](const Span& span, const std::vector<Sight>& seen, std::int64_t first,
                             std::int64_t count) {
      for (std::int64_t h = head * heads_.group(); h < (head + 1) * heads_.group(); ++h) {
        take_queries(span.start + first, count, h, s);
        for (std::size_t b = 0; b < seen.size(); ++b) back(seen[b], b > 0, s);
        give_queries(span.start + first, count, h, s);
      }
    });
    for (const Span& span : tree.spans) give_keys(span, head, s);
  }

 private:
  void lay_out(const Tree& tree, std::int64_t head, Scratch& s) const {
    std::int64_t size = kKeys * heads_.size;
    for (auto* panel : {&s.keys, &s.values, &s.keys_t}) panel->resize(tree.blocks * size);
    for (const Span& span : tree.spans)
      for (std::int64_t b = 0; b < span.blocks(); ++b) {
        std::int64_t token = span.start + b * kKeys, count = std::min(kKeys, span.len - b * kKeys);
        std::int64_t at = (span.first_block + b) * size;
        C* keys = s.keys.data() + at;
        take_rows(in_.key(token, head), heads_.width(), count, kKeys, heads_.size, keys);
        transpose(keys, kKeys, heads_.size, s.keys_t.data() + at);
        take_rows(in_.value(token, head), heads_.width(), count, kKeys, heads_.size,
                  s.values.data() + at);
      }
    s.grad_keys.assign(tree.blocks * size, 0.0f);
    s.grad_values.assign(tree.blocks * size, 0.0f);
    for (auto* rows : {&s.rows, &s.grads, &s.q, &s.q_t, &s.g, &s.g_t})
      rows->resize(kQueries * heads_.size);
    s.packed.resize(kBlock);
    s.scores.resize(kBlock);
    s.products.resize(kBlock);
    s.grad_q.resize(kQueries * heads_.size);
    s.turned.resize(kQueries * heads_.size);
  }

  // A block of queries and its gradients as operands; their lse and the
  // products delta of gradient and result.
  void take_queries(std::int64_t token, std::int64_t count, std::int64_t h, Scratch& s) const {
    std::int64_t size = heads_.size, width = heads_.queries * size;
    const S* grad = saved_.grad + token * width + h * size;
    const S* out = saved_.out + token * width + h * size;
    take_rows(in_.query(token, h), heads_.width(), count, kQueries, size, s.rows.data());
    take_rows(grad, width, count, kQueries, size, s.grads.data());
    pack(s.rows.data(), kQueries, size, s.q.data());
    pack_transposed(s.rows.data(), kQueries, size, s.q_t.data());
    pack(s.grads.data(), kQueries, size, s.g.data());
    pack_transposed(s.grads.data(), kQueries, size, s.g_t.data());
    for (std::int64_t i = 0; i < kQueries; ++i) {
      // Padding has zero gradients, and so adds nothing whatever its weights.
      std::int64_t row = std::min(i, count - 1);
      Row<S>::load(grad + row * width, s.grad_q.data(), size);
      Row<S>::load(out + row * width, s.turned.data(), size);
      s.delta[i] = i < count ? dot(s.grad_q.data(), s.turned.data(), size) : 0.0f;
      s.lse[i] = saved_.lse[h * saved_.tokens + token + row];
    }
  }

  // One block of keys: scores [keys, queries], then the gradients of all three.
  void back(const Sight& sight, bool more, Scratch& s) const {
    std::int64_t size = heads_.size, at = sight.block * kKeys * size;
    float *scores = s.scores.data(), *products = s.products.data();
    multiply_blocks(kKeys, kQueries, size, s.keys.data() + at, s.q_t.data(), scores, false);
    multiply_blocks(kKeys, kQueries, size, s.values.data() + at, s.g_t.data(), products, false);
    for (std::int64_t j = 0; j < kKeys && !sight.whole(); ++j)
      std::fill(scores + j * kQueries, scores + j * kQueries + sight.first_seeing(j), kHidden);
    soften_backward(scores, products, s.lse, s.delta, scale_);
    const C* weights = rounded(scores, kBlock, s.weights);
    const C* slopes = rounded(products, kBlock, s.slopes);
    pack(slopes, kKeys, kQueries, s.packed.data());
    multiply_blocks(kKeys, size, kQueries, weights, s.g.data(), s.grad_values.data() + at,
                    true);
    multiply_blocks(kKeys, size, kQueries, slopes, s.q.data(), s.grad_keys.data() + at,
                    true);
    multiply_blocks(size, kQueries, kKeys, s.keys_t.data() + at, s.packed.data(), s.grad_q.data(),
                    more);
  }

  void give_queries(std::int64_t token, std::int64_t count, std::int64_t h, Scratch& s) const {
    transpose(s.grad_q.data(), heads_.size, kQueries, s.turned.data());
    for (std::int64_t i = 0; i < count; ++i) give(s.turned.data() + i * heads_.size, token + i, h);
  }

  void give_keys(const Span& span, std::int64_t head, Scratch& s) const {
    for (std::int64_t i = 0; i < span.len; ++i) {
      std::int64_t at = (span.first_block * kKeys + i) * heads_.size, token = span.start + i;
      give(s.grad_keys.data() + at, token, heads_.queries + head);
      Row<S>::store(s.grad_values.data() + at,
                    to_ + token * heads_.width() + (heads_.queries + heads_.keys + head) * heads_.size,
                    heads_.size);
    }
  }

  // Turns a head's gradient back and stores it.
  void give(float* row, std::int64_t token, std::int64_t h) const {
    std::int64_t half = heads_.rotated / 2;
    rotate(row, saved_.cos + token * half, saved_.sin + token * half, half, -1.0f);
    Row<S>::store(row, to_ + token * heads_.width() + h * heads_.size, heads_.size);
  }

  Projection<S> in_;
  Heads heads_;
  Saved saved_;
  S* to_;
  float scale_;
};

}  // namespace moreline
