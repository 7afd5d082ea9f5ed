// Operations of fused.cpp, for the C functions of shim.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace moreline {

// How queries, keys and values are gathered into attention batches.
struct RotaryPlan {
  const at::Tensor* cos;
  const at::Tensor* sin;
  const at::Tensor* query_index;
  const at::Tensor* key_index;
  const at::Tensor* query_row;
  const at::Tensor* key_offsets;
  const at::Tensor* key_rows;
  std::int64_t queries, keys, size, rotated;
};

at::Tensor gather_rows(const at::Tensor& x, const at::Tensor& index, const at::Tensor& inverse);
std::vector<at::Tensor> rotary_gather(const at::Tensor& qkv, const RotaryPlan& plan);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
at::Tensor swiglu(const at::Tensor& gate_up);

}  // namespace moreline
