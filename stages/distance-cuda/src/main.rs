//! Stage: a tile of the matrix of distances, computed by libtorch on the job's device.

fn main() {
    share_a_heap();
    kit::serve(|job| {
        let device = device::prepare(&job.device, job.threads)?;
        distance::run(job, |measure, pairs, memory| {
            distance_cuda::TensorSums::new(device, measure, pairs, memory)
        })
    })
}

/// Lets all threads share one heap. Blocks are computed by whichever thread is free, and a heap of its own would keep what
/// a block took while the next one takes as much from another.
#[cfg(target_env = "gnu")]
fn share_a_heap() {
    // SAFETY: mallopt only sets a limit of the allocator, before there are other threads.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

#[cfg(not(target_env = "gnu"))]
fn share_a_heap() {}
