// Differentiable operations that libtorch has only as chains of small ones:
// RMSNorm and the gated MLP's product. fp32 and bf16, CPU.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>
#include <vector>

#include "fused.h"
#include "kernel.h"
#include "rows.h"

namespace moreline {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// Calls `body` with a value of the element type of `kind`.
template <typename Body>
void dispatch(at::ScalarType kind, Body body) {
  if (kind == at::kFloat) {
    body(float{});
  } else {
    TORCH_CHECK(kind == at::kBFloat16, "fused kernels take fp32 and bf16 only");
    body(std::uint16_t{});
  }
}

// Rows whose weight gradients are summed together: fixed, so that the order of
// additions does not depend on the number of threads.
constexpr std::int64_t kNormRows = 64;

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static Tensor forward(AutogradContext* context, const Tensor& x_in, const Tensor& weight_in,
                        double eps) {
    Tensor x = x_in.contiguous(), weight = weight_in.contiguous();
    Tensor out = at::empty_like(x);
    Tensor rstd = at::empty({x.size(0)}, x.options().dtype(at::kFloat));
    dispatch(x.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      std::int64_t width = x.size(1);
      std::vector<float> scale_by(width);
      Row<T>::load(data<T>(weight), scale_by.data(), width);
      at::parallel_for(0, x.size(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> row(width);
        for (std::int64_t r = begin; r < end; ++r) {
          Row<T>::load(data<T>(x) + r * width, row.data(), width);
          float mean = dot(row.data(), row.data(), width) / static_cast<float>(width);
          float inverse = 1.0f / std::sqrt(mean + static_cast<float>(eps));
          data<float>(rstd)[r] = inverse;
          scale(row.data(), inverse, row.data(), width);
          // Rounded before the weight is applied, as transformers does.
          T* to = data<T>(out) + r * width;
          Row<T>::store(row.data(), to, width);
          Row<T>::load(to, row.data(), width);
          multiply(row.data(), scale_by.data(), row.data(), width);
          Row<T>::store(row.data(), to, width);
        }
      });
    });
    context->save_for_backward({x, weight, rstd});
    return out;
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    auto saved = context->get_saved_variables();
    Tensor x = saved[0], weight = saved[1], rstd = saved[2], grad = grads[0].contiguous();
    std::int64_t rows = x.size(0), width = x.size(1);
    std::int64_t parts = (rows + kNormRows - 1) / kNormRows;
    Tensor grad_x = at::empty_like(x);
    Tensor partial = at::zeros({parts, width}, x.options().dtype(at::kFloat));
    dispatch(x.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      std::vector<float> scale_by(width);
      Row<T>::load(data<T>(weight), scale_by.data(), width);
      at::parallel_for(0, parts, 1, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> x_hat(width), g(width);
        for (std::int64_t r = begin * kNormRows; r < std::min(end * kNormRows, rows); ++r) {
          float inverse = data<float>(rstd)[r];
          Row<T>::load(data<T>(x) + r * width, x_hat.data(), width);
          Row<T>::load(data<T>(grad) + r * width, g.data(), width);
          scale(x_hat.data(), inverse, x_hat.data(), width);
          multiply_add(g.data(), x_hat.data(), data<float>(partial) + r / kNormRows * width, width);
          multiply(g.data(), scale_by.data(), g.data(), width);
          float mean = dot(g.data(), x_hat.data(), width) / static_cast<float>(width);
          norm_backward(g.data(), x_hat.data(), mean, inverse, g.data(), width);
          Row<T>::store(g.data(), data<T>(grad_x) + r * width, width);
        }
      });
    });
    return {grad_x, partial.sum(0).to(weight.scalar_type()), Tensor()};
  }
};

struct SwiGlu : torch::autograd::Function<SwiGlu> {
  static Tensor forward(AutogradContext* context, const Tensor& gate_up_in) {
    Tensor gate_up = gate_up_in.contiguous();
    context->save_for_backward({gate_up});
    std::int64_t inner = gate_up.size(1) / 2;
    Tensor out = at::empty({gate_up.size(0), inner}, gate_up.options());
    dispatch(gate_up.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      at::parallel_for(0, gate_up.size(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> row(2 * inner);
        for (std::int64_t r = begin; r < end; ++r) {
          Row<T>::load(data<T>(gate_up) + r * 2 * inner, row.data(), 2 * inner);
          gated(row.data(), row.data() + inner, row.data(), inner);
          Row<T>::store(row.data(), data<T>(out) + r * inner, inner);
        }
      });
    });
    return out;
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    Tensor gate_up = context->get_saved_variables()[0], grad = grads[0].contiguous();
    std::int64_t inner = grad.size(1);
    Tensor out = at::empty_like(gate_up);
    dispatch(grad.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      at::parallel_for(0, grad.size(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> row(2 * inner), g(inner);
        for (std::int64_t r = begin; r < end; ++r) {
          Row<T>::load(data<T>(gate_up) + r * 2 * inner, row.data(), 2 * inner);
          Row<T>::load(data<T>(grad) + r * inner, g.data(), inner);
          gated_backward(row.data(), row.data() + inner, g.data(), inner);
          Row<T>::store(row.data(), data<T>(out) + r * 2 * inner, 2 * inner);
        }
      });
    });
    return {out};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  return RmsNorm::apply(x, weight, eps);
}

Tensor swiglu(const Tensor& gate_up) { return SwiGlu::apply(gate_up); }

}  // namespace moreline
