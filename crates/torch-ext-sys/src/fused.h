// Operations of attention.cpp and fused.cpp, for the C functions of shim.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

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
// Each with a projection behind it.
at::Tensor rms_norm_linear(const at::Tensor& x, const at::Tensor& norm, double eps,
                           const at::Tensor& weight, const std::optional<at::Tensor>& bias);
at::Tensor swiglu_linear(const at::Tensor& gate_up, const at::Tensor& weight,
                         const std::optional<at::Tensor>& bias);

}  // namespace moreline
