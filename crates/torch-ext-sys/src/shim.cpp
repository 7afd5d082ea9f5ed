// What the worker needs of libtorch and `tch` does not bind. Every function
// catches every C++ exception, returns 0 on success and 1 on failure, and keeps
// the failure's message for `moreline_last_error` of the same thread.

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/version.h>

#include "fused.h"
#include "rounding.h"

#include <dlfcn.h>
#include <malloc.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

thread_local std::string last_error;

template <typename Body>
int guarded(Body body) {
  try {
    body();
    return 0;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "an unknown C++ exception";
  }
  return 1;
}

std::vector<at::Tensor> collect(at::Tensor* const* tensors, std::size_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (std::size_t i = 0; i < count; ++i) list.push_back(*tensors[i]);
  return list;
}

std::optional<at::Tensor> optional(const at::Tensor* tensor) {
  return tensor ? std::optional<at::Tensor>(*tensor) : std::nullopt;
}

}  // namespace

extern "C" {

const char* moreline_last_error() { return last_error.c_str(); }

// The gradients of `outputs` with respect to `inputs`, given the gradients of
// the outputs. `results` takes one new tensor per input, or null where the
// outputs do not depend on it.
int moreline_grad(at::Tensor* const* outputs, at::Tensor* const* grad_outputs,
                  std::size_t output_count, at::Tensor* const* inputs,
                  std::size_t input_count, at::Tensor** results) {
  return guarded([&] {
    auto grads = torch::autograd::grad(
        collect(outputs, output_count), collect(inputs, input_count),
        collect(grad_outputs, output_count), /*retain_graph=*/c10::nullopt,
        /*create_graph=*/false, /*allow_unused=*/true);
    for (std::size_t i = 0; i < input_count; ++i)
      results[i] = grads[i].defined() ? new at::Tensor(std::move(grads[i])) : nullptr;
  });
}

// fp32 into bf16, each element by its own threshold.
int moreline_round_dithered(const at::Tensor* from, at::Tensor* to, int by_operators) {
  return guarded([&] {
    if (by_operators) return moreline::round_dithered_by_operators(*from, *to);
    moreline::round_dithered(*from, *to);
  });
}

// One AdamW step on flat fp32 tensors, in place; `step` counts from 1.
int moreline_adamw(at::Tensor* parameter, at::Tensor* gradient,
                   at::Tensor* first_moment, at::Tensor* second_moment,
                   double step, double lr, double beta1, double beta2,
                   double weight_decay, double eps) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    // The operator takes the step's number as a tensor, as torch.optim does.
    auto steps = at::full({}, step, at::TensorOptions().dtype(at::kFloat).device(parameter->device()));
    at::_fused_adamw_({*parameter}, {*gradient}, {*first_moment}, {*second_moment},
                      /*max_exp_avg_sqs=*/{}, {steps}, lr, beta1, beta2,
                      weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

// The operations of fused.h; each writes a new tensor through `result`.
int moreline_tree_attention(const at::Tensor* qkv, const moreline::TreePlan* plan,
                            at::Tensor** result) {
  return guarded([&] { *result = new at::Tensor(moreline::tree_attention(*qkv, *plan)); });
}

int moreline_rms_norm(const at::Tensor* x, const at::Tensor* weight, double eps,
                      at::Tensor** result) {
  return guarded([&] { *result = new at::Tensor(moreline::rms_norm(*x, *weight, eps)); });
}

int moreline_swiglu(const at::Tensor* gate_up, at::Tensor** result) {
  return guarded([&] { *result = new at::Tensor(moreline::swiglu(*gate_up)); });
}

int moreline_rms_norm_linear(const at::Tensor* x, const at::Tensor* norm, double eps,
                             const at::Tensor* weight, const at::Tensor* bias,
                             at::Tensor** result) {
  return guarded([&] {
    *result = new at::Tensor(
        moreline::rms_norm_linear(*x, *norm, eps, *weight, optional(bias)));
  });
}

int moreline_swiglu_linear(const at::Tensor* gate_up, const at::Tensor* weight,
                           const at::Tensor* bias, at::Tensor** result) {
  return guarded([&] {
    *result = new at::Tensor(moreline::swiglu_linear(*gate_up, *weight, optional(bias)));
  });
}

// "highest", "high" or "medium".
int moreline_set_float32_matmul_precision(const char* precision) {
  return guarded([&] { at::globalContext().setFloat32MatmulPrecision(precision); });
}

int moreline_set_deterministic(int on) {
  return guarded([&] {
    at::globalContext().setDeterministicAlgorithms(on != 0, /*warn_only=*/false);
    at::globalContext().setDeterministicFillUninitializedMemory(false);
  });
}

// Load libtorch's CUDA half. No program links it, so that one that computes on
// the CPU does not load gigabytes of libraries. Before the first question for devices.
int moreline_load_cuda() {
  return guarded([] {
    // cuBLAS is deterministic only with workspaces of a fixed size.
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
    static void* library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) {
      const char* reason = dlerror();
      throw std::runtime_error(reason ? reason : "libtorch_cuda.so does not load");
    }
  });
}

// The threads that loops of this library are spread over.
int moreline_kernel_threads() {
  std::atomic<int> threads{0};
  at::parallel_for(0, at::get_num_threads(), 1, [&](std::int64_t, std::int64_t) { ++threads; });
  return threads;
}

const char* moreline_libtorch_version() { return TORCH_VERSION; }

// For example "AVX512".
const char* moreline_cpu_capability() {
  static thread_local std::string capability;
  if (guarded([&] { capability = at::get_cpu_capability(); }) != 0) return "unknown";
  return capability.c_str();
}

// Keep large blocks in the heap instead of mapping and unmapping them.
void moreline_keep_large_blocks() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2147483647);
  // Without fast bins a large free has nothing to consolidate.
  mallopt(M_MXFAST, 0);
}

// Return the pages of all free blocks to the system.
void moreline_give_back_memory() { malloc_trim(0); }

}  // extern "C"
