//! Stage: a tile of the matrix of distances, computed by the processor.

fn main() {
    kit::serve(|job| distance::run(job, distance::on_processor))
}
