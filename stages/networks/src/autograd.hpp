// What the operations with a gradient of our own share.

#pragma once

#include <torch/csrc/autograd/custom_function.h>

#include <cstddef>
#include <optional>

// Numbers in the order in which they are computed with: x has 2 or 4 axes.
inline at::Tensor channels_last(const at::Tensor &x) {
    return x.contiguous(x.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
}

// As many numbers as there are channels, or none.
inline float *of_channels(int64_t channels, const at::Tensor *tensor) {
    if (!tensor) return nullptr;
    TORCH_CHECK(tensor->is_contiguous() && tensor->numel() == channels, "not a number a channel");
    return tensor->data_ptr<float>();
}

inline const at::Tensor *pointer(const std::optional<at::Tensor> &tensor) { return tensor ? &*tensor : nullptr; }

inline std::optional<at::Tensor> optional(const at::Tensor *tensor) {
    return tensor ? std::optional<at::Tensor>(*tensor) : std::nullopt;
}

// For a gradient that has none itself.
inline void refuse_second_derivatives() {
    TORCH_CHECK(!at::GradMode::is_enabled(), "there are no second derivatives");
}
