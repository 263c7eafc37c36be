//! Stage: a tile of the matrix of distances, computed by libtorch on the job's device.

fn main() {
    kit::serve(|job| {
        let device = device::prepare(&job.device, job.threads)?;
        distance::run(job, |measure, pairs, memory| {
            distance_cuda::TensorSums::new(device, measure, pairs, memory)
        })
    })
}
