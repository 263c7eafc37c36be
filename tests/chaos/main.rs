//! What must hold whatever happens: kills at random instants, bits that flip on the disk. Minutes, not seconds.

mod damage;
mod dice;
mod kills;
mod pipeline;
// The workspaces and small pipelines of the end-to-end tests; not all of what they can do is needed here.
#[allow(dead_code)]
#[path = "../e2e/scratch.rs"]
mod scratch;
#[allow(dead_code)]
#[path = "../e2e/tiny.rs"]
mod tiny;
