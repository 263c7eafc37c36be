// Attention as an operation of libtorch's with a gradient, for which tch has no call. attention.rs computes.

#include "../autograd.hpp"

using at::Tensor;

namespace {

// As in kernel.rs.
struct Shape {
    size_t samples, tokens, heads, width;
};

}  // namespace

// In attention.rs.
extern "C" {
size_t hyperribbon_attention_weights(Shape shape, bool kept);
void hyperribbon_attend(const float *qkv, Shape shape, bool kept, float *weights, float *out);
void hyperribbon_attend_back(const float *qkv, const float *weights, const float *gradient, Shape shape, float *of_qkv);
}

namespace {

Shape shape_of(const Tensor &qkv) {
    TORCH_CHECK(qkv.dim() == 5 && qkv.size(2) == 3, "no queries, keys and values");
    return {size_t(qkv.size(0)), size_t(qkv.size(1)), size_t(qkv.size(3)), size_t(qkv.size(4))};
}

struct Attention : torch::autograd::Function<Attention> {
    // From [N, tokens, 3, heads, width] to [N, tokens, heads, width].
    static Tensor forward(torch::autograd::AutogradContext *context, const Tensor &qkv, bool kept) {
        const Shape shape = shape_of(qkv);
        Tensor weights = at::empty({int64_t(hyperribbon_attention_weights(shape, kept))}, qkv.options());
        Tensor out = at::empty({qkv.size(0), qkv.size(1), qkv.size(3), qkv.size(4)}, qkv.options());
        hyperribbon_attend(qkv.const_data_ptr<float>(), shape, kept, weights.mutable_data_ptr<float>(),
                           out.mutable_data_ptr<float>());
        context->save_for_backward({qkv, weights});
        return out;
    }

    static torch::autograd::tensor_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::tensor_list gradients) {
        refuse_second_derivatives();
        const torch::autograd::variable_list saved = context->get_saved_variables();
        const Tensor &qkv = saved[0], &weights = saved[1], gradient = gradients[0].contiguous();
        Tensor of_qkv = at::empty_like(qkv);
        hyperribbon_attend_back(qkv.const_data_ptr<float>(), weights.const_data_ptr<float>(),
                                gradient.const_data_ptr<float>(), shape_of(qkv), of_qkv.mutable_data_ptr<float>());
        return {of_qkv, {}};
    }
};

}  // namespace

// An exception ends the program, with its message on standard error.
extern "C" Tensor *hyperribbon_attention(const Tensor *qkv) noexcept {
    return new Tensor(Attention::apply(qkv->contiguous(), at::GradMode::is_enabled() && qkv->requires_grad()));
}
