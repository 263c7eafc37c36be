// Batch normalisation as an operation of libtorch's with a gradient, for which tch has no call. batch_norm.rs computes.

#include "../autograd.hpp"

using at::Tensor;

// In batch_norm.rs. `kept` [4, channels] is what the gradient needs of the way forward.
extern "C" {
void hyperribbon_normalise(const float *x, size_t numbers, size_t channels, const float *weight, const float *bias,
                           double epsilon, int relu, float *y, float *kept, float *mean, float *variance,
                           double momentum);
void hyperribbon_normalise_by(const float *x, size_t numbers, size_t channels, const float *weight, const float *bias,
                              const float *mean, const float *variance, double epsilon, int relu, float *y);
void hyperribbon_normalise_back(const float *x, const float *gradient, size_t numbers, size_t channels, int relu,
                                const float *kept, float *of_x, float *of_weight, float *of_bias);
}

namespace {

struct BatchNorm : torch::autograd::Function<BatchNorm> {
    static Tensor forward(torch::autograd::AutogradContext *context, const Tensor &x, const std::optional<Tensor> &weight,
                          const std::optional<Tensor> &bias, const Tensor &mean, const Tensor &variance, double momentum,
                          double epsilon, int64_t relu) {
        const int64_t channels = x.size(1);
        Tensor y = at::empty_like(x), kept = at::empty({4, channels}, mean.options());
        hyperribbon_normalise(x.const_data_ptr<float>(), x.numel(), channels, of_channels(channels, pointer(weight)),
                              of_channels(channels, pointer(bias)), epsilon, int(relu), y.mutable_data_ptr<float>(),
                              kept.mutable_data_ptr<float>(), of_channels(channels, &mean),
                              of_channels(channels, &variance), momentum);
        context->save_for_backward({x, kept});
        context->saved_data["relu"] = relu;
        return y;
    }

    static torch::autograd::tensor_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::tensor_list gradients) {
        refuse_second_derivatives();
        const torch::autograd::variable_list saved = context->get_saved_variables();
        const Tensor &x = saved[0], &kept = saved[1], gradient = channels_last(gradients[0]);
        Tensor of_x = at::empty_like(x), of_weight = at::empty({x.size(1)}, kept.options());
        Tensor of_bias = at::empty_like(of_weight);
        hyperribbon_normalise_back(x.const_data_ptr<float>(), gradient.const_data_ptr<float>(), x.numel(), x.size(1),
                                   int(context->saved_data["relu"].toInt()), kept.const_data_ptr<float>(),
                                   of_x.mutable_data_ptr<float>(), of_weight.mutable_data_ptr<float>(),
                                   of_bias.mutable_data_ptr<float>());
        // Edges are of the tensors that there were: without weight and bias these are the statistics', which need none.
        auto needed = [&](size_t input, const Tensor &gradient) {
            return context->needs_input_grad(input) ? gradient : Tensor();
        };
        return {of_x, needed(1, of_weight), needed(2, of_bias), {}, {}, {}, {}, {}};
    }
};

}  // namespace

// An exception ends the program, with its message on standard error.
extern "C" Tensor *hyperribbon_batch_norm(const Tensor *x, const Tensor *weight, const Tensor *bias, const Tensor *mean,
                                          const Tensor *variance, double momentum, double epsilon, int relu) noexcept {
    return new Tensor(BatchNorm::apply(channels_last(*x), optional(weight), optional(bias), *mean, *variance, momentum,
                                       epsilon, int64_t(relu)));
}

// Without a gradient.
extern "C" Tensor *hyperribbon_running_norm(const Tensor *any_order, const Tensor *weight, const Tensor *bias,
                                            const Tensor *mean, const Tensor *variance, double epsilon,
                                            int relu) noexcept {
    const Tensor x = channels_last(*any_order);
    Tensor y = at::empty_like(x);
    auto numbers = [&](const Tensor *tensor) { return of_channels(x.size(1), tensor); };
    hyperribbon_normalise_by(x.const_data_ptr<float>(), x.numel(), x.size(1), numbers(weight), numbers(bias),
                             numbers(mean), numbers(variance), epsilon, relu, y.mutable_data_ptr<float>());
    return new Tensor(y);
}

// Whether this thread's operations are to have gradients.
extern "C" bool hyperribbon_keeps_gradients() noexcept { return at::GradMode::is_enabled(); }
