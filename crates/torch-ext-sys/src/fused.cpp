// Differentiable operations that libtorch has only as chains of small ones:
// rows gathered with a known inverse, rotary queries and keys gathered into
// attention batches, RMSNorm, and the gated MLP's product. fp32 and bf16, CPU.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>
#include <vector>

#include "fused.h"
#include "rows.h"

namespace moreline {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

constexpr std::int64_t kGrain = 16;

template <typename T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

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

// out[r] = x[index[r]], or zeros where the index is negative.
Tensor gather(const Tensor& x, const Tensor& index) {
  std::int64_t rows = index.size(0), width = x.size(1);
  Tensor out = at::empty({rows, width}, x.options());
  const auto* at_row = data<std::int64_t>(index);
  std::size_t bytes = width * x.element_size();
  const char* from = static_cast<const char*>(x.data_ptr());
  char* to = static_cast<char*>(out.data_ptr());
  at::parallel_for(0, rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      if (at_row[r] < 0)
        std::memset(to + r * bytes, 0, bytes);
      else
        std::memcpy(to + r * bytes, from + at_row[r] * bytes, bytes);
    }
  });
  return out;
}

struct GatherRows : torch::autograd::Function<GatherRows> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& index,
                        const Tensor& inverse) {
    context->save_for_backward({inverse});
    return gather(x.contiguous(), index);
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    Tensor inverse = context->get_saved_variables()[0];
    return {gather(grads[0].contiguous(), inverse), Tensor(), Tensor()};
  }
};

// The sizes of a rotary gather, as they go through the autograd context.
struct Heads {
  std::int64_t queries, keys, size, rotated;
  std::int64_t width() const { return (queries + 2 * keys) * size; }
};

struct RotaryGather : torch::autograd::Function<RotaryGather> {
  static tensor_list forward(AutogradContext* context, const Tensor& qkv_in, const Tensor& cos,
                             const Tensor& sin, const Tensor& query_index, const Tensor& key_index,
                             const Tensor& query_row, const Tensor& key_offsets,
                             const Tensor& key_rows, std::int64_t queries, std::int64_t keys,
                             std::int64_t size, std::int64_t rotated) {
    Heads heads{queries, keys, size, rotated};
    context->save_for_backward({cos, sin, query_row, key_offsets, key_rows});
    context->saved_data["heads"] = std::vector<std::int64_t>{queries, keys, size, rotated};
    Tensor qkv = qkv_in.contiguous();
    Tensor turned = at::empty_like(qkv);
    dispatch(qkv.scalar_type(), [&](auto zero) {
      turn<decltype(zero)>(qkv, turned, cos, sin, heads, 1.0f);
    });
    std::int64_t q_width = queries * size, k_width = keys * size;
    return {columns(turned, query_index, 0, q_width), columns(turned, key_index, q_width, k_width),
            columns(turned, key_index, q_width + k_width, k_width)};
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    auto saved = context->get_saved_variables();
    auto sizes = context->saved_data["heads"].toIntVector();
    Heads heads{sizes[0], sizes[1], sizes[2], sizes[3]};
    Tensor gq = grads[0].contiguous(), gk = grads[1].contiguous(), gv = grads[2].contiguous();
    std::int64_t tokens = saved[2].size(0);
    Tensor out = at::empty({tokens, heads.width()}, gq.options());
    dispatch(gq.scalar_type(), [&](auto zero) {
      collect<decltype(zero)>(gq, gk, gv, out, saved, heads);
    });
    tensor_list result(12);
    result[0] = out;
    return result;
  }

  // Rotates the first `rotated` dimensions of every query and key head.
  template <typename T>
  static void turn(const Tensor& from, const Tensor& to, const Tensor& cos, const Tensor& sin,
                   const Heads& heads, float sign) {
    std::int64_t tokens = from.size(0), width = heads.width(), half = heads.rotated / 2;
    at::parallel_for(0, tokens, kGrain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(width);
      for (std::int64_t t = begin; t < end; ++t) {
        Row<T>::load(data<T>(from) + t * width, row.data(), width);
        for (std::int64_t h = 0; h < heads.queries + heads.keys; ++h)
          rotate(row.data() + h * heads.size, data<float>(cos) + t * half,
                 data<float>(sin) + t * half, half, sign);
        Row<T>::store(row.data(), data<T>(to) + t * width, width);
      }
    });
  }

  static Tensor columns(const Tensor& from, const Tensor& index, std::int64_t first,
                        std::int64_t count) {
    std::int64_t rows = index.size(0), width = from.size(1);
    Tensor out = at::empty({rows, count}, from.options());
    std::size_t element = from.element_size(), bytes = count * element;
    const char* source = static_cast<const char*>(from.data_ptr()) + first * element;
    char* target = static_cast<char*>(out.data_ptr());
    const auto* row = data<std::int64_t>(index);
    at::parallel_for(0, rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        std::memcpy(target + r * bytes, source + row[r] * width * element, bytes);
    });
    return out;
  }

  // Each token's gradient: its one query row, the sum of its key and value
  // rows, turned back.
  template <typename T>
  static void collect(const Tensor& gq, const Tensor& gk, const Tensor& gv, const Tensor& out,
                      const tensor_list& saved, const Heads& heads) {
    const float *cos = data<float>(saved[0]), *sin = data<float>(saved[1]);
    const auto* query_row = data<std::int64_t>(saved[2]);
    const auto* offsets = data<std::int64_t>(saved[3]);
    const auto* rows = data<std::int64_t>(saved[4]);
    std::int64_t q_width = heads.queries * heads.size, k_width = heads.keys * heads.size;
    std::int64_t width = heads.width(), half = heads.rotated / 2;
    at::parallel_for(0, saved[2].size(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> sum(width);
      for (std::int64_t t = begin; t < end; ++t) {
        Row<T>::load(data<T>(gq) + query_row[t] * q_width, sum.data(), q_width);
        std::fill(sum.begin() + q_width, sum.end(), 0.0f);
        for (std::int64_t i = offsets[t]; i < offsets[t + 1]; ++i) {
          Row<T>::add(data<T>(gk) + rows[i] * k_width, sum.data() + q_width, k_width);
          Row<T>::add(data<T>(gv) + rows[i] * k_width, sum.data() + q_width + k_width, k_width);
        }
        for (std::int64_t h = 0; h < heads.queries + heads.keys; ++h)
          rotate(sum.data() + h * heads.size, cos + t * half, sin + t * half, half, -1.0f);
        Row<T>::store(sum.data(), data<T>(out) + t * width, width);
      }
    });
  }
};

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
  static Tensor forward(AutogradContext* context, const Tensor& gate_up) {
    context->save_for_backward({gate_up});
    std::int64_t inner = gate_up.size(1) / 2;
    return at::silu(gate_up.narrow(1, 0, inner)).mul_(gate_up.narrow(1, inner, inner));
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    Tensor gate_up = context->get_saved_variables()[0];
    std::int64_t inner = gate_up.size(1) / 2;
    Tensor gate = gate_up.narrow(1, 0, inner), up = gate_up.narrow(1, inner, inner);
    Tensor out = at::empty_like(gate_up);
    Tensor grad_gate = out.narrow(1, 0, inner), grad_up = out.narrow(1, inner, inner);
    at::mul_out(grad_up, grads[0], at::silu(gate));
    at::silu_backward_out(grad_gate, grads[0] * up, gate);
    return {out};
  }
};

}  // namespace

Tensor gather_rows(const Tensor& x, const Tensor& index, const Tensor& inverse) {
  return GatherRows::apply(x, index, inverse);
}

std::vector<Tensor> rotary_gather(const Tensor& qkv, const RotaryPlan& plan) {
  return RotaryGather::apply(qkv, *plan.cos, *plan.sin, *plan.query_index, *plan.key_index,
                             *plan.query_row, *plan.key_offsets, *plan.key_rows, plan.queries,
                             plan.keys, plan.size, plan.rotated);
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  return RmsNorm::apply(x, weight, eps);
}

Tensor swiglu(const Tensor& gate_up) { return SwiGlu::apply(gate_up); }

}  // namespace moreline
