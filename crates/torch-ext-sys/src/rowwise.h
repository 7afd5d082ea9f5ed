// RMSNorm and the gated MLP's product of rows, and their gradients, outside of
// autograd. fp32 and bf16, CPU; sums in fp32.
#pragma once

#include <ATen/core/Tensor.h>

namespace moreline {

// Rows over their root mean square, times the weight; and one over the roots [T].
struct Normed {
  at::Tensor out, rstd;
};
Normed norm_rows(const at::Tensor& x, const at::Tensor& weight, double eps);

// What a backward pass gives: the gradients of its inputs, and where asked for
// the result of the forward pass once more.
struct NormGrads {
  at::Tensor x, weight, again;
};
NormGrads norm_rows_backward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd,
                             const at::Tensor& grad, bool again);

// silu(gate) up of rows [T, 2 I] that hold both.
at::Tensor gate_rows(const at::Tensor& gate_up);

struct GateGrads {
  at::Tensor gate_up, again;
};
GateGrads gate_rows_backward(const at::Tensor& gate_up, const at::Tensor& grad, bool again);

}  // namespace moreline
