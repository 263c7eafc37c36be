//! What the scheduler does with published outputs: they are placed as soon as their job is current.

use super::Run;
use crate::graph::JobId;
use crate::plan::State;
use crate::run::RunError;
use crate::run::report::Happening;
use crate::store::StoreError;

impl Run<'_, '_, '_> {
    /// Places a current job's published outputs, where they are not what they should be and their content is here.
    pub(super) fn publish(&mut self, id: JobId) {
        if self.options.discard {
            return;
        }
        let project = self.project;
        let State::Current(_, artifacts) = self.plan.state(id) else { return };
        let place = |(place, path): (u16, String)| {
            let artifact = &artifacts[place as usize];
            let is_due =
                !project.is_published(id, artifact, &path) && project.store.holds(artifact, &project.memo);
            is_due.then(|| project.store.copy(artifact, &project.outputs().join(path)))?.err()
        };
        let published = project.graph.published(&project.pipeline, id);
        let errors: Vec<StoreError> = published.into_iter().filter_map(place).collect();
        errors.into_iter().for_each(|error| self.not_published(error));
    }

    /// What could not be published is in the store: it is with this as with a job that fails.
    fn not_published(&mut self, error: StoreError) {
        match &mut self.failure {
            Some(RunError::Unpublished { others, .. }) => *others += 1,
            Some(_) => {}
            None => {
                // Now: with --keep-going the end may be days away.
                self.tell(&Happening::Note(&error.to_string()));
                self.failure = Some(RunError::Unpublished { others: 0, first: error });
            }
        }
        if !self.options.keep_going {
            self.stop(false);
        }
    }
}
