// How libtorch computes on GPUs, for which tch has no call.

#include <ATen/Context.h>

#include <cstdlib>

// From here on an operation that could give other bits each time takes the way that does not, and says so on standard
// error where it has none; cuDNN chooses by rules and not by what was fastest when tried; and f32 is f32, which products
// of matrices and convolutions would round to TF32, with 10 bits of mantissa, when not told otherwise.
extern "C" void hyperribbon_compute_exactly() {
    // cuBLAS reads it when it is first used: one fixed place to work in gives the same bits each time.
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
    at::Context &context = at::globalContext();
    context.setDeterministicAlgorithms(true, /*warn_only=*/true);
    context.setDeterministicFillUninitializedMemory(false);
    context.setBenchmarkCuDNN(false);
    context.setDeterministicCuDNN(true);
    context.setAllowTF32CuDNN(false);
    context.setAllowTF32CuBLAS(false);
}

// Whether an operation that has no such way fails, instead of saying so.
extern "C" void hyperribbon_refuse_inexact(bool refuse) {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/!refuse);
}
