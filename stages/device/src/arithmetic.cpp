// How libtorch computes on GPUs, for which tch has no call.

#include <ATen/Context.h>

// From here on cuDNN takes only algorithms that give the same bits each time, by rules and not by what was fastest when
// tried, and f32 is f32: cuDNN would round what it multiplies to TF32, with 10 bits of mantissa, when not told otherwise.
extern "C" void hyperribbon_compute_exactly() {
    at::Context &context = at::globalContext();
    context.setBenchmarkCuDNN(false);
    context.setDeterministicCuDNN(true);
    context.setAllowTF32CuDNN(false);
    context.setAllowTF32CuBLAS(false);
}
