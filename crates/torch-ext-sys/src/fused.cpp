// Differentiable operations that libtorch has only as chains of small ones:
// RMSNorm, the gated MLP's product, and both with the projection that reads
// them. fp32 and bf16, CPU.

#include "fused.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "rowwise.h"

namespace moreline {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static Tensor forward(AutogradContext* context, const Tensor& x_in, const Tensor& weight_in,
                        double eps) {
    Tensor x = x_in.contiguous(), weight = weight_in.contiguous();
    auto [out, rstd] = norm_rows(x, weight, eps);
    context->save_for_backward({x, weight, rstd});
    return out;
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    auto saved = context->get_saved_variables();
    auto made = norm_rows_backward(saved[0], saved[1], saved[2], grads[0].contiguous(), false);
    return {made.x, made.weight, Tensor()};
  }
};

struct SwiGlu : torch::autograd::Function<SwiGlu> {
  static Tensor forward(AutogradContext* context, const Tensor& gate_up_in) {
    Tensor gate_up = gate_up_in.contiguous();
    context->save_for_backward({gate_up});
    return gate_rows(gate_up);
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    Tensor gate_up = context->get_saved_variables()[0];
    return {gate_rows_backward(gate_up, grads[0].contiguous(), false).gate_up};
  }
};

// The gradients of y = h W' + b: each product as autograd has it, to the bit.
Tensor input_grad(const Tensor& grad, const Tensor& weight) { return grad.mm(weight); }
Tensor weight_grad(const Tensor& grad, const Tensor& h) { return grad.t().mm(h); }
Tensor bias_grad(AutogradContext* context, const Tensor& grad, std::size_t place) {
  bool wanted = context->saved_data["biased"].toBool() && context->needs_input_grad(place);
  return wanted ? grad.sum(0) : Tensor();
}

// RMSNorm and a projection. Between them nothing is kept for the backward pass.
struct NormLinear : torch::autograd::Function<NormLinear> {
  static Tensor forward(AutogradContext* context, const Tensor& x_in, const Tensor& norm_in,
                        const Tensor& weight, const std::optional<Tensor>& bias, double eps) {
    Tensor x = x_in.contiguous(), norm = norm_in.contiguous();
    auto [normed, rstd] = norm_rows(x, norm, eps);
    context->save_for_backward({x, norm, rstd, weight});
    context->saved_data["biased"] = bias.has_value();
    return at::linear(normed, weight, bias);
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    auto saved = context->get_saved_variables();
    bool trained = context->needs_input_grad(2);
    Tensor grad_normed = input_grad(grads[0], saved[3]);
    auto made = norm_rows_backward(saved[0], saved[1], saved[2], grad_normed, trained);
    Tensor grad_weight = trained ? weight_grad(grads[0], made.again) : Tensor();
    return {made.x, made.weight, grad_weight, bias_grad(context, grads[0], 3), Tensor()};
  }
};

// The gated product and a projection, likewise.
struct SwiGluLinear : torch::autograd::Function<SwiGluLinear> {
  static Tensor forward(AutogradContext* context, const Tensor& gate_up_in, const Tensor& weight,
                        const std::optional<Tensor>& bias) {
    Tensor gate_up = gate_up_in.contiguous();
    context->save_for_backward({gate_up, weight});
    context->saved_data["biased"] = bias.has_value();
    return at::linear(gate_rows(gate_up), weight, bias);
  }

  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    auto saved = context->get_saved_variables();
    bool trained = context->needs_input_grad(1);
    Tensor grad_h = input_grad(grads[0], saved[1]);
    auto made = gate_rows_backward(saved[0], grad_h, trained);
    Tensor grad_weight = trained ? weight_grad(grads[0], made.again) : Tensor();
    return {made.gate_up, grad_weight, bias_grad(context, grads[0], 2)};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  return RmsNorm::apply(x, weight, eps);
}

Tensor swiglu(const Tensor& gate_up) { return SwiGlu::apply(gate_up); }

Tensor rms_norm_linear(const Tensor& x, const Tensor& norm, double eps, const Tensor& weight,
                       const std::optional<Tensor>& bias) {
  return NormLinear::apply(x, norm, weight, bias, eps);
}

Tensor swiglu_linear(const Tensor& gate_up, const Tensor& weight,
                     const std::optional<Tensor>& bias) {
  return SwiGluLinear::apply(gate_up, weight, bias);
}

}  // namespace moreline
