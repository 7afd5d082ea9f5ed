#include "rowwise.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cstdint>
#include <vector>

#include "kernel.h"
#include "rows.h"

namespace moreline {
namespace {

using at::Tensor;

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

// A row over its root mean square, rounded before the weight is applied, as
// transformers does. `row` holds the quotients and is used up.
template <typename T>
void weighted(std::vector<float>& row, const std::vector<float>& weight, T* to) {
  auto width = static_cast<std::int64_t>(row.size());
  Row<T>::store(row.data(), to, width);
  Row<T>::load(to, row.data(), width);
  multiply(row.data(), weight.data(), row.data(), width);
  Row<T>::store(row.data(), to, width);
}

template <typename T>
std::vector<float> loaded(const Tensor& row) {
  std::vector<float> values(row.numel());
  Row<T>::load(data<T>(row), values.data(), row.numel());
  return values;
}

}  // namespace

Normed norm_rows(const Tensor& x, const Tensor& weight, double eps) {
  std::int64_t width = x.size(1);
  Normed made{at::empty_like(x), at::empty({x.size(0)}, x.options().dtype(at::kFloat))};
  dispatch(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    auto scale_by = loaded<T>(weight);
    at::parallel_for(0, x.size(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(width);
      for (std::int64_t r = begin; r < end; ++r) {
        Row<T>::load(data<T>(x) + r * width, row.data(), width);
        float mean = dot(row.data(), row.data(), width) / static_cast<float>(width);
        float inverse = 1.0f / std::sqrt(mean + static_cast<float>(eps));
        data<float>(made.rstd)[r] = inverse;
        scale(row.data(), inverse, row.data(), width);
        weighted(row, scale_by, data<T>(made.out) + r * width);
      }
    });
  });
  return made;
}

NormGrads norm_rows_backward(const Tensor& x, const Tensor& weight, const Tensor& rstd,
                             const Tensor& grad, bool again) {
  std::int64_t rows = x.size(0), width = x.size(1);
  std::int64_t parts = (rows + kNormRows - 1) / kNormRows;
  NormGrads made{at::empty_like(x), Tensor(), again ? at::empty_like(x) : Tensor()};
  Tensor partial = at::zeros({parts, width}, x.options().dtype(at::kFloat));
  dispatch(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    auto scale_by = loaded<T>(weight);
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
        Row<T>::store(g.data(), data<T>(made.x) + r * width, width);
        if (again) weighted(x_hat, scale_by, data<T>(made.again) + r * width);
      }
    });
  });
  made.weight = partial.sum(0).to(weight.scalar_type());
  return made;
}

Tensor gate_rows(const Tensor& gate_up) {
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

GateGrads gate_rows_backward(const Tensor& gate_up, const Tensor& grad, bool again) {
  std::int64_t inner = grad.size(1);
  GateGrads made{at::empty_like(gate_up), again ? at::empty_like(grad) : Tensor()};
  dispatch(grad.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    at::parallel_for(0, grad.size(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(2 * inner), g(inner), product(inner);
      for (std::int64_t r = begin; r < end; ++r) {
        Row<T>::load(data<T>(gate_up) + r * 2 * inner, row.data(), 2 * inner);
        Row<T>::load(data<T>(grad) + r * inner, g.data(), inner);
        if (again) {
          gated(row.data(), row.data() + inner, product.data(), inner);
          Row<T>::store(product.data(), data<T>(made.again) + r * inner, inner);
        }
        gated_backward(row.data(), row.data() + inner, g.data(), inner);
        Row<T>::store(row.data(), data<T>(made.gate_up) + r * 2 * inner, 2 * inner);
      }
    });
  });
  return made;
}

}  // namespace moreline
