//! Reading through a share while a run goes on: a job's key is asked for before the job runs, and content that is gone
//! is fetched before it is made again. What the share cannot give, the run makes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::{Run, Told};
use crate::graph::JobId;
use crate::hash::Key;
use crate::plan::{Reason, State};
use crate::project::Project;
use crate::run::report::Happening;
use crate::share::{Again, Crew, Exchange, given, wanted};
use crate::store::{Artifacts, Lease};

/// A finished job, its key and what it made under that.
pub type Finished = (JobId, Key, Artifacts);

/// For so long, what a share has said of a key is as good as new: others may be at the same work.
const FRESH: Duration = Duration::from_secs(1);

/// What a run is waiting for from a share.
pub(super) struct Sharing<'scope, 'env> {
    project: &'env Project,
    exchange: &'env Exchange,
    crew: Crew<'scope, 'env>,
    /// The run's.
    lease: Arc<Lease>,
    tell: Sender<Told>,
    /// Stale jobs whose keys the share is asked for.
    asking: BTreeMap<JobId, Key>,
    /// The same by key: jobs of one key wait for one answer.
    questions: BTreeMap<Key, BTreeSet<JobId>>,
    /// Keys that were asked for, and when the answers came.
    asked: BTreeMap<Key, Instant>,
    /// How long the last answer took.
    answer_takes: Duration,
    /// Jobs whose content is fetched, each with the jobs that need it; itself, when it is to be published.
    fetching: BTreeMap<JobId, BTreeSet<JobId>>,
    /// Outputs that were fetched, or not to be had.
    tried: BTreeSet<(JobId, u16)>,
    /// Ready jobs that wait for the content of so many others.
    held: BTreeMap<JobId, usize>,
    /// Finished jobs that are being published.
    publishing: usize,
    /// Finished jobs that could not be.
    unpublished: Vec<Finished>,
    /// Whether these were tried once more.
    is_second: bool,
}

impl<'scope, 'env> Sharing<'scope, 'env> {
    pub(super) fn new(
        project: &'env Project,
        exchange: &'env Exchange,
        crew: Crew<'scope, 'env>,
        lease: Lease,
        tell: Sender<Told>,
    ) -> Sharing<'scope, 'env> {
        Sharing {
            project,
            exchange,
            crew,
            lease: Arc::new(lease),
            tell,
            asking: BTreeMap::new(),
            questions: BTreeMap::new(),
            asked: BTreeMap::new(),
            answer_takes: Duration::ZERO,
            fetching: BTreeMap::new(),
            tried: BTreeSet::new(),
            held: BTreeMap::new(),
            publishing: 0,
            unpublished: Vec::new(),
            is_second: false,
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.asking.is_empty() && self.fetching.is_empty() && self.publishing == 0
    }

    /// Whether something is on its way to the share.
    pub(super) fn is_publishing(&self) -> bool {
        self.publishing > 0
    }

    /// A stale job is not ready any more. Whether it was waiting for the share.
    pub(super) fn forget(&mut self, id: JobId) -> bool {
        let asked = self.asking.remove(&id);
        if let Some(jobs) = asked.and_then(|key| self.questions.get_mut(&key)) {
            jobs.remove(&id);
        }
        asked.is_some() | self.held.remove(&id).is_some()
    }

    /// No more questions; with `all`, what is under way ends too.
    pub(super) fn stop(&self, all: bool) {
        self.exchange.stop(all);
    }

    /// Asks for a stale job's key, unless the answer is of a moment ago. Whether there is an answer to wait for.
    fn ask(&mut self, id: JobId, key: Key) -> bool {
        let is_under_way = self.questions.contains_key(&key);
        let is_known = self.asked.get(&key).is_some_and(|answered| answered.elapsed() < FRESH);
        if !is_under_way && (!self.exchange.is_readable() || is_known) {
            return false;
        }
        self.asking.insert(id, key);
        self.questions.entry(key).or_default().insert(id);
        if is_under_way {
            return true;
        }
        let (project, exchange, tell) = (self.project, self.exchange, self.tell.clone());
        let lease = self.lease.clone();
        self.crew.send(move || {
            let begun = Instant::now();
            let known = exchange.record(key, project.stage(id));
            let took = begun.elapsed();
            // What cannot be noted is made here.
            let made = known.and_then(|known| known.keep(&project.store, &project.memo, &lease).ok());
            let _ = tell.send(Told::Asked { key, made, took });
        });
        true
    }

    /// Whether an output may still come: it is under way, or was not tried yet.
    fn may_come(&self, of: JobId, place: u16) -> bool {
        self.fetching.contains_key(&of) || self.exchange.is_readable() && !self.tried.contains(&(of, place))
    }

    /// Fetches outputs of a current job for another one, or for itself.
    fn fetch(&mut self, of: JobId, key: Key, made: &Artifacts, places: &[u16], needed_by: JobId) {
        let is_under_way = self.fetching.contains_key(&of);
        self.fetching.entry(of).or_default().insert(needed_by);
        if is_under_way {
            // If it is not all that is needed, the rest is fetched after it.
            return;
        }
        self.tried.extend(places.iter().map(|place| (of, *place)));
        let all = wanted(self.project, of, made);
        let wanted: Vec<_> =
            places.iter().filter_map(|place| all.get(usize::from(*place)).copied()).collect();
        let (project, exchange, tell) = (self.project, self.exchange, self.tell.clone());
        self.crew.send(move || {
            exchange.fetch(key, &wanted, &project.store, &project.memo);
            let _ = tell.send(Told::Fetched(of));
        });
    }

    /// Publishes what a job has made.
    pub(super) fn publish(&mut self, id: JobId, key: Key, made: &Artifacts) {
        let (given, finished) = (given(self.project, id, made), (id, key, made.clone()));
        let (project, exchange, tell) = (self.project, self.exchange, self.tell.clone());
        self.publishing += 1;
        self.crew.send(move || {
            // The exchange keeps what went wrong, and tells it once.
            let published = project
                .store
                .record(key)
                .is_none_or(|record| exchange.publish(&record, &given, &project.store, Again::Lost).is_ok());
            let _ = tell.send(Told::Published((!published).then_some(finished)));
        });
    }

    /// How long the last answer took.
    pub(super) fn answer_takes(&self) -> Duration {
        self.answer_takes
    }

    /// How many finished jobs are not on the share.
    pub(super) fn unpublished(&self) -> usize {
        self.unpublished.len()
    }
}

impl Run<'_, '_, '_> {
    /// Asks the share for a stale job. Its key, if it has to wait for the answer.
    pub(super) fn ask(&mut self, id: JobId) -> Option<Key> {
        let State::Stale(key, Reason::NewKey) = *self.plan.state(id) else { return None };
        // What is made here, or was, stays what the key has made.
        if self.sharing.is_none() || self.is_running(key) || self.project.store.artifacts(key).is_some() {
            return None;
        }
        self.sharing.as_mut()?.ask(id, key).then_some(key)
    }

    /// What the share said about a key; its jobs are current now, or ready to run.
    pub(super) fn asked(&mut self, key: Key, made: Option<&Artifacts>, took: Duration) {
        self.tell_of_share();
        if let Some(held) = self.kept.remove(&key) {
            self.slots.give(&held);
        }
        let Some(sharing) = &mut self.sharing else { return };
        // Without those that wait for their inputs again.
        let jobs = sharing.questions.remove(&key).unwrap_or_default();
        sharing.asked.insert(key, Instant::now());
        sharing.answer_takes = took;
        for id in &jobs {
            sharing.asking.remove(id);
        }
        jobs.into_iter().for_each(|id| self.answered(id, key, made));
    }

    fn answered(&mut self, id: JobId, key: Key, made: Option<&Artifacts>) {
        match made {
            Some(made) => {
                self.plan.finish(id, key, made.clone());
                if let Some(place) = self.unsupplied(id) {
                    self.plan.redo(id, place);
                    return self.queue(id);
                }
                self.tell(&Happening::Spared(id));
                self.settle(id);
            }
            None => self.queue(id),
        }
    }

    /// An output of a current job that is wanted, is not here, and cannot come from the share: the job has to run.
    /// What can come is fetched.
    pub(super) fn unsupplied(&mut self, id: JobId) -> Option<u16> {
        let place = self.plan.lacks(id)?;
        let State::Current(key, made) = self.plan.state(id) else { return None };
        let sharing = self.sharing.as_mut().filter(|sharing| sharing.may_come(id, place));
        match sharing {
            Some(sharing) => {
                sharing.fetch(id, *key, made, &[place], id);
                None
            }
            None => Some(place),
        }
    }

    /// Lets a current job run again if its wanted outputs are not here and cannot come.
    pub(super) fn supply(&mut self, id: JobId) {
        if let Some(place) = self.unsupplied(id) {
            self.redo(id, place);
        }
    }

    /// Fetches inputs of a ready job that were found `gone`. Whether it has to wait for that.
    ///
    /// Those that have come since are fetched too, which ends at once: else one might neither wait for them nor find
    /// them gone, and make them again.
    pub(super) fn fetch_inputs(&mut self, id: JobId, gone: &[(JobId, u16)]) -> bool {
        let Some(sharing) = &mut self.sharing else { return false };
        let mut coming: BTreeMap<JobId, Vec<u16>> = BTreeMap::new();
        for &(producer, place) in gone.iter().filter(|(producer, place)| sharing.may_come(*producer, *place))
        {
            coming.entry(producer).or_default().push(place);
        }
        let mut missing = 0;
        for (producer, places) in coming {
            let (key, made) = match self.plan.state(producer) {
                State::Current(key, made) => (*key, made),
                // Known from the lock, which names the key it had.
                State::Kept(made) => match self.project.lock.get(self.project.name(producer)) {
                    Some(line) => (line.key, made),
                    None => continue,
                },
                _ => continue,
            };
            sharing.fetch(producer, key, made, &places, id);
            missing += 1;
        }
        if missing > 0 {
            sharing.held.insert(id, missing);
        }
        missing > 0
    }

    /// Content has come, or has not; whoever needs it looks for itself.
    pub(super) fn fetched(&mut self, of: JobId) {
        self.tell_of_share();
        let consumers = self.sharing.as_mut().and_then(|sharing| sharing.fetching.remove(&of));
        for id in consumers.unwrap_or_default() {
            if id == of {
                self.publish(id);
                self.supply(id);
                continue;
            }
            let Some(sharing) = &mut self.sharing else { continue };
            if let Some(missing) = sharing.held.get_mut(&id) {
                *missing -= 1;
                if *missing == 0 {
                    sharing.held.remove(&id);
                    self.queue(id);
                }
            }
        }
    }

    /// A job's work is where others find it, or cannot get there.
    pub(super) fn published(&mut self, missing: Option<Finished>) {
        self.tell_of_share();
        if let Some(sharing) = &mut self.sharing {
            sharing.publishing -= 1;
            sharing.unpublished.extend(missing);
        }
    }

    /// At the end of a run, what could not be published is tried once more: a server may only have been away for a while.
    /// Whether there is any.
    pub(super) fn publish_again(&mut self) -> bool {
        let Some(sharing) = self.sharing.as_mut().filter(|sharing| !sharing.is_second) else { return false };
        sharing.is_second = true;
        sharing.exchange.try_again();
        let again = std::mem::take(&mut sharing.unpublished);
        again.iter().for_each(|(id, key, made)| sharing.publish(*id, *key, made));
        !again.is_empty()
    }

    fn tell_of_share(&mut self) {
        let Some(sharing) = &self.sharing else { return };
        let news = [sharing.exchange.trouble(), sharing.exchange.first_ignored()];
        for text in news.iter().flatten() {
            self.tell(&Happening::Share(text));
        }
    }
}
