//! What a worker keeps from one job to the next: the last value made from an artifact, by its hash.

use crate::job::Artifact;

/// The last value loaded, under the hash of the artifact it came from. A path never serves as a name: paths are
/// reused, content hashes are not.
#[derive(Debug)]
pub struct Memo<T> {
    held: Option<(String, T)>,
}

impl<T> Memo<T> {
    /// Holds nothing yet.
    pub const fn new() -> Self {
        Memo { held: None }
    }

    /// The value made from `artifact`: the one held, or what `load` makes.
    ///
    /// # Errors
    /// Those of `load`; then nothing is held.
    pub fn get<E>(
        &mut self,
        artifact: &Artifact,
        load: impl FnOnce(&Artifact) -> Result<T, E>,
    ) -> Result<&T, E> {
        let held = match self.held.take() {
            Some(held) if held.0 == artifact.hash => held,
            _ => (artifact.hash.clone(), load(artifact)?),
        };
        Ok(&self.held.insert(held).1)
    }
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(hash: &str) -> Artifact {
        Artifact { path: "in/x".into(), hash: hash.into(), labels: Default::default() }
    }

    #[test]
    fn loads_again_only_when_the_content_differs() {
        let mut memo = Memo::new();
        let mut loads = 0;
        for hash in ["a", "a", "b", "b", "a"] {
            memo.get(&artifact(hash), |_| {
                loads += 1;
                Ok::<_, ()>(loads)
            })
            .unwrap();
        }
        assert_eq!(loads, 3);
    }

    #[test]
    fn a_failed_load_leaves_nothing_behind() {
        let mut memo = Memo::new();
        assert_eq!(memo.get(&artifact("a"), |_| Err("no")), Err("no"));
        assert_eq!(memo.get(&artifact("a"), |_| Ok::<_, &str>(1)), Ok(&1));
    }
}
