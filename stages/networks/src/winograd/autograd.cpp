// Winograd's convolution as an operation of libtorch's with a gradient, for which tch has no call. winograd.rs computes.

#include "../autograd.hpp"

using at::Tensor;

namespace {

// As in kernel.rs.
struct Shape {
    size_t images, height, width, inputs, outputs;
};

}  // namespace

// In winograd.rs.
extern "C" {
void hyperribbon_convolve(Shape shape, const float *x, const float *weights, const float *bias, float *y);
void hyperribbon_convolve_back_to_x(Shape shape, const float *gradient, const float *weights, float *of_x);
void hyperribbon_convolve_back_to_weights(Shape shape, const float *x, const float *gradient, float *of_weights,
                                          float *of_bias);
}

namespace {

Shape shape_of(const Tensor &x, const Tensor &weights) {
    TORCH_CHECK(weights.sizes() == at::IntArrayRef({weights.size(0), x.size(1), 3, 3}), "no filters 3x3 of x");
    return {size_t(x.size(0)), size_t(x.size(2)), size_t(x.size(3)), size_t(x.size(1)), size_t(weights.size(0))};
}

struct Winograd : torch::autograd::Function<Winograd> {
    static Tensor forward(torch::autograd::AutogradContext *context, const Tensor &x, const Tensor &weights,
                          const std::optional<Tensor> &bias) {
        const Shape shape = shape_of(x, weights);
        Tensor y = at::empty({x.size(0), weights.size(0), x.size(2), x.size(3)}, x.options(),
                             at::MemoryFormat::ChannelsLast);
        const Tensor filters = channels_last(weights);
        hyperribbon_convolve(shape, x.const_data_ptr<float>(), filters.const_data_ptr<float>(),
                             of_channels(weights.size(0), pointer(bias)), y.mutable_data_ptr<float>());
        context->save_for_backward({x, weights});
        context->saved_data["bias"] = bias.has_value();
        return y;
    }

    static torch::autograd::tensor_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::tensor_list gradients) {
        refuse_second_derivatives();
        const torch::autograd::variable_list saved = context->get_saved_variables();
        const Tensor &x = saved[0], weights = channels_last(saved[1]), gradient = channels_last(gradients[0]);
        const Shape shape = shape_of(x, weights);
        Tensor of_x, of_weights, of_bias;
        if (context->needs_input_grad(0)) {
            of_x = at::empty_like(x);
            hyperribbon_convolve_back_to_x(shape, gradient.const_data_ptr<float>(), weights.const_data_ptr<float>(),
                                           of_x.mutable_data_ptr<float>());
        }
        // Edges are of the tensors that there were.
        const bool bias = context->saved_data["bias"].toBool() && context->needs_input_grad(2);
        if (context->needs_input_grad(1) || bias) {
            of_weights = at::empty_like(weights);
            of_bias = at::empty({weights.size(0)}, weights.options());
            hyperribbon_convolve_back_to_weights(shape, x.const_data_ptr<float>(), gradient.const_data_ptr<float>(),
                                                 of_weights.mutable_data_ptr<float>(),
                                                 of_bias.mutable_data_ptr<float>());
        }
        return {of_x, context->needs_input_grad(1) ? of_weights : Tensor(), bias ? of_bias : Tensor()};
    }
};

}  // namespace

// An exception ends the program, with its message on standard error.
extern "C" Tensor *hyperribbon_winograd(const Tensor *x, const Tensor *weights, const Tensor *bias) noexcept {
    return new Tensor(Winograd::apply(channels_last(*x), *weights, optional(bias)));
}
