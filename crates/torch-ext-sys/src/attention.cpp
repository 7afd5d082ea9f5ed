// Attention over a batch of token trees, without padding: each span sees itself
// causally and its ancestors whole. Blocks of queries against blocks of keys,
// the softmax as in FlashAttention-2 (arXiv 2307.08691), with keys and values
// of a span laid out once for all spans below it. fp32 and bf16, CPU.
//
// A tree and a key head are computed by one thread from beginning to end, so
// that sums have one order whatever the number of threads.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>
#include <vector>

#include "attention_backward.h"
#include "attention_forward.h"
#include "fused.h"

namespace moreline {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// Whether block products of bf16 are right here: tried on small whole numbers,
// whose sums are exact.
bool multiplies_bf16() {
  constexpr std::int64_t kDepth = 16;
  std::vector<float> a(kQueries * kDepth), b(kDepth * kKeys), c(kBlock);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 7) - 3;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i % 5) - 2;
  std::vector<Bits> left, right, packed(b.size());
  rounded(a.data(), static_cast<std::int64_t>(a.size()), left);
  rounded(b.data(), static_cast<std::int64_t>(b.size()), right);
  pack(right.data(), kDepth, kKeys, packed.data());
  try {
    multiply_blocks(kQueries, kKeys, kDepth, left.data(), packed.data(), c.data(), false);
    at::native::cpublas::brgemm_release();
  } catch (...) {
    return false;
  }
  for (std::int64_t i = 0; i < kBlock; ++i) {
    float sum = 0;
    for (std::int64_t k = 0; k < kDepth; ++k)
      sum += a[i / kKeys * kDepth + k] * b[k * kKeys + i % kKeys];
    if (c[i] != sum) return false;
  }
  return true;
}

// Calls `body` with the element types of a tensor and of the block products on it.
template <typename Body>
void dispatch(at::ScalarType kind, Body body) {
  if (kind == at::kFloat) {
    body(float{}, float{});
    return;
  }
  TORCH_CHECK(kind == at::kBFloat16, "attention on trees takes fp32 and bf16 only");
  // Where the processor has no products of bf16, fp32 ones take their place.
  static const bool native = multiplies_bf16();
  if (native)
    body(Bits{}, Bits{});
  else
    body(Bits{}, float{});
}

struct TreeAttention : torch::autograd::Function<TreeAttention> {
  static Tensor forward(AutogradContext* context, const Tensor& qkv_in, const Tensor& cos,
                        const Tensor& sin, const Tensor& spans, std::int64_t queries,
                        std::int64_t keys, std::int64_t size, std::int64_t rotated) {
    Heads heads{queries, keys, size, rotated};
    Tensor qkv = qkv_in.contiguous();
    std::int64_t tokens = qkv.size(0);
    Tensor turned = rotated > 0 ? at::empty_like(qkv) : qkv;
    Tensor out = at::empty({tokens, queries * size}, qkv.options());
    Tensor lse = at::empty({queries, tokens}, qkv.options().dtype(at::kFloat));
    auto trees = trees_of(spans);
    dispatch(qkv.scalar_type(), [&](auto stored, auto computed) {
      using S = decltype(stored);
      using C = decltype(computed);
      if (rotated > 0) turn<S>(qkv, turned, cos, sin, heads);
      Forward<S, C> pass({data<S>(turned), heads}, data<S>(out), data<float>(lse), tokens);
      for_each<typename Forward<S, C>::Scratch>(trees, heads, pass);
    });
    context->save_for_backward({turned, out, lse, cos, sin, spans});
    context->saved_data["heads"] = std::vector<std::int64_t>{queries, keys, size, rotated};
    return out;
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    auto saved = context->get_saved_variables();
    auto sizes = context->saved_data["heads"].toIntVector();
    Heads heads{sizes[0], sizes[1], sizes[2], sizes[3]};
    Tensor grad = grads[0].contiguous(), result = at::empty_like(saved[0]);
    auto trees = trees_of(saved[5]);
    dispatch(grad.scalar_type(), [&](auto stored, auto computed) {
      using S = decltype(stored);
      using Pass = Backward<S, decltype(computed)>;
      typename Pass::Saved left{data<S>(saved[1]),     data<S>(grad),        data<float>(saved[2]),
                                data<float>(saved[3]), data<float>(saved[4]), grad.size(0)};
      Pass pass({data<S>(saved[0]), heads}, left, data<S>(result));
      for_each<typename Pass::Scratch>(trees, heads, pass);
    });
    tensor_list all(8);
    all[0] = result;
    return all;
  }
};

}  // namespace

Tensor tree_attention(const Tensor& qkv, const TreePlan& plan) {
  return TreeAttention::apply(qkv, *plan.cos, *plan.sin, *plan.spans, plan.queries, plan.keys,
                              plan.size, plan.rotated);
}

}  // namespace moreline
