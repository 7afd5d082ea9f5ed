// Operations of attention.cpp and fused.cpp, for the C functions of shim.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace moreline {

// How the tokens of a batch attend.
struct TreePlan {
  const at::Tensor* cos;
  const at::Tensor* sin;
  const at::Tensor* spans;
  std::int64_t queries, keys, size, rotated;
};

at::Tensor tree_attention(const at::Tensor& qkv, const TreePlan& plan);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
at::Tensor swiglu(const at::Tensor& gate_up);

}  // namespace moreline
