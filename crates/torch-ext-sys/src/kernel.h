// What the kernels share: access to a tensor's elements.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace moreline {

// Rows that a thread takes at least.
constexpr std::int64_t kGrain = 16;

template <typename T>
T* data(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

}  // namespace moreline
