// fp32 to bf16 with a dither that belongs to the element.
#pragma once

#include <ATen/ATen.h>

namespace moreline {

// Writes fp32 `from` `[N]` into bf16 `to` `[N]`; any device.
void round_dithered(const at::Tensor& from, at::Tensor& to);

// The same by libtorch's operators, which every device has.
void round_dithered_by_operators(const at::Tensor& from, at::Tensor& to);

}  // namespace moreline
