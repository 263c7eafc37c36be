//! The scheduler: which job starts next, and what its end means for others. One thread; constant work per event and edge.

mod assign;
mod order;
mod programs;
mod publish;
mod sharing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

pub use self::sharing::Finished;
use self::sharing::Sharing;
use super::assignment::Program;
use super::failure::Failure;
use super::intermediates::Intermediates;
use super::pool::Pool;
use super::report::{Happening, Report};
use super::sandbox;
use super::worker::Told;
use super::{Interrupts, Options, RunError, Summary, allow_many_files};
use crate::graph::JobId;
use crate::hash::Key;
use crate::pipeline::StageId;
use crate::plan::{Plan, Reason, State};
use crate::project::Project;
use crate::share::{Crew, Exchange};
use crate::slots::{Held, Slots};
use crate::store::{Artifacts, Hold, Scratch, StoreError};

/// How often to look whether another run has finished a job that this one needs too.
const ELSEWHERE: Duration = Duration::from_millis(200);

/// How a run came out.
pub struct Outcome<'env> {
    /// What is current now.
    pub plan: Plan<'env>,
    /// What was done.
    pub summary: Summary,
    /// What ended the run early: a program cannot be built, or the store fails. Jobs that ran came to their end. Or what
    /// could not be published, which ends it only as a failed job does.
    pub failure: Option<RunError>,
    /// Holds what the plan counts on, until the lock says the same.
    pub scratch: Scratch,
}

/// A plan, and the hold on the store under which it was made: what it has found is still there.
pub struct Planned<'env> {
    /// The plan.
    pub plan: Plan<'env>,
    /// The hold.
    pub hold: Hold,
}

/// Executes what a plan has found stale.
///
/// # Errors
/// When there is no place to run anything.
pub fn execute<'run, 'scope, 'env>(
    project: &'env Project,
    Planned { plan, hold }: Planned<'env>,
    options: &'run Options,
    interrupts: &Interrupts,
    report: &'run mut dyn Report,
    exchange: Option<&'env Exchange>,
    scope: &'scope Scope<'scope, 'env>,
) -> Result<Outcome<'env>, RunError> {
    allow_many_files();
    let stages = project.pipeline.stages.len();
    let scratch = project.store.scratch()?;
    let intermediates = Intermediates::new(project, &plan, project.store.lease(&scratch)?, options.discard)?;
    drop(hold);
    let (tell, told) = channel();
    interrupts.reach(tell.clone());
    let sharing = exchange.map(|exchange| {
        let crew = Crew::new(scope, exchange.width());
        let lease = project.store.lease(&scratch)?;
        Ok::<_, StoreError>(Sharing::new(project, exchange, crew, lease, tell.clone()))
    });
    let sharing = sharing.transpose()?;
    let mut run = Run {
        project,
        options,
        report,
        waiting: vec![0; project.graph.jobs.len()],
        first: order::first_jobs(project, exchange.is_some()),
        ready: vec![BTreeSet::new(); stages],
        running: HashMap::new(),
        twins: HashMap::new(),
        elsewhere: BTreeMap::new(),
        looked: Instant::now(),
        overtaken: BTreeSet::new(),
        settling: BTreeSet::new(),
        sharing,
        took: vec![None; stages],
        left: vec![0; stages],
        slots: Slots::here(options.threads),
        pool: Pool::new(scope, project, scratch.path().to_owned(), tell.clone()),
        programs: vec![None; stages],
        is_building: false,
        scope,
        events: tell,
        interrupts: interrupts.clone(),
        kept: HashMap::new(),
        intermediates,
        stopping: false,
        failure: None,
        summary: Summary::default(),
        plan,
    };
    if let Err(error) = run.begin() {
        run.break_off(error);
    }
    run.go(&told);
    Ok(run.end(scratch))
}

struct Run<'run, 'scope, 'env> {
    project: &'env Project,
    options: &'run Options,
    report: &'run mut dyn Report,
    plan: Plan<'env>,
    /// Of each waiting job: producers that are not current, or are settling.
    waiting: Vec<usize>,
    /// By stage: jobs from this on start first.
    first: Vec<JobId>,
    /// By stage: stale jobs whose producers are all current.
    ready: Vec<BTreeSet<JobId>>,
    running: HashMap<JobId, (Key, Held)>,
    /// By key: ready jobs that a running one with the same key may spare.
    twins: HashMap<Key, BTreeSet<JobId>>,
    /// Ready jobs whose keys another run is at.
    elsewhere: BTreeMap<JobId, Key>,
    /// When those were looked at last.
    looked: Instant,
    /// Running jobs of which an input was made again meanwhile, with other bits.
    overtaken: BTreeSet<JobId>,
    /// Jobs that have become current and whose dependents do not know yet.
    settling: BTreeSet<JobId>,
    /// What is exchanged with others.
    sharing: Option<Sharing<'scope, 'env>>,
    /// By stage: how long the last job took that ran.
    took: Vec<Option<Duration>>,
    /// By stage: jobs that are not current.
    left: Vec<usize>,
    slots: Slots,
    pool: Pool<'scope, 'env>,
    /// By stage: what runs its jobs, once it is built.
    programs: Vec<Option<Program>>,
    /// Whether a program is being built beside what runs.
    is_building: bool,
    /// For threads that end before the run does.
    scope: &'scope Scope<'scope, 'env>,
    /// By which they report.
    events: Sender<Told>,
    interrupts: Interrupts,
    /// What is kept for jobs whose keys the share is asked for, by key.
    kept: HashMap<Key, Held>,
    intermediates: Intermediates,
    /// No new jobs start.
    stopping: bool,
    failure: Option<RunError>,
    summary: Summary,
}

impl<'env> Run<'_, '_, 'env> {
    /// Tells the plan, builds the programs it needs, publishes what is current and queues what is ready.
    fn begin(&mut self) -> Result<(), RunError> {
        let needed: Vec<JobId> = self.plan.needed().collect();
        let mut counts = vec![(0, 0); self.left.len()];
        for &id in &needed {
            let is_current = matches!(self.plan.state(id), State::Current(..));
            let is_left = !self.plan.is_settled(id);
            let stage = self.stage(id).0;
            counts[stage].0 += usize::from(is_current || is_left);
            counts[stage].1 += usize::from(is_current);
            self.left[stage] += usize::from(is_left);
            self.waiting[id.index()] = self.missing_producers(id);
        }
        for (stage, (needed, current)) in
            counts.into_iter().enumerate().filter(|(_, (needed, _))| *needed > 0)
        {
            self.tell(&Happening::Stage { stage: StageId(stage), needed, current });
        }
        let stages: Vec<usize> = (0..self.left.len()).filter(|stage| self.left[*stage] > 0).collect();
        if !stages.is_empty() && !self.options.no_sandbox && !sandbox::guards_files() {
            self.tell(&Happening::Note(
                "this system has no Landlock (Linux 5.13 or later has it): jobs can open files that they do not declare",
            ));
        }
        // What a share may have is built when it turns out that it has not.
        if self.sharing.is_none() {
            self.build(&stages)?;
        }
        for id in needed {
            match self.plan.state(id) {
                State::Current(..) => {
                    self.publish(id);
                    // Without a share, the plan has seen to it.
                    if self.sharing.is_some() {
                        self.supply(id);
                    }
                }
                // Counted anew: a producer, which was looked at before, may have to be redone first.
                State::Stale(..) => match self.missing_producers(id) {
                    0 => self.queue(id),
                    _ => self.wait(id),
                },
                State::Waiting | State::Kept(_) | State::Unneeded => {}
            }
        }
        Ok(self.intermediates.begin(&self.plan)?)
    }

    /// Starts jobs and takes their ends until there is nothing left to do.
    fn go(&mut self, told: &Receiver<Told>) {
        // Somebody may have lost patience with the build.
        told.try_iter().for_each(|event| self.take(event));
        loop {
            if !self.stopping
                && let Err(error) = self.look_elsewhere().and_then(|()| self.dispatch())
            {
                self.break_off(error);
            }
            let is_over = match &self.sharing {
                // What is finished gets where others find it.
                Some(sharing) if self.stopping => !sharing.is_publishing(),
                Some(sharing) => sharing.is_idle() && self.elsewhere.is_empty(),
                None => self.stopping || self.elsewhere.is_empty(),
            };
            if self.running.is_empty() && !self.is_building && is_over {
                if self.summary.interrupted || !self.publish_again() {
                    return;
                }
                continue;
            }
            let next = match self.stopping || self.elsewhere.is_empty() {
                true => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => told.recv_timeout(ELSEWHERE.saturating_sub(self.looked.elapsed())),
            };
            match next {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, event: Told) {
        match event {
            Told::Progress { id, done, of, note } => {
                self.tell(&Happening::Progress(id, done, of, &note));
            }
            Told::Ended { id, worker, result, seconds } => self.ended(id, worker, result, seconds),
            Told::Asked { key, made, took } => self.asked(key, made.as_ref(), took),
            Told::Fetched(id) => self.fetched(id),
            Told::Published(missing) => self.published(missing),
            Told::Building(line) => self.tell(&Happening::Build(&line)),
            Told::Built(built) => self.built(built),
            Told::Interrupt => {
                self.stop(true);
                self.summary.interrupted = true;
                self.pool.end();
            }
        }
    }

    /// The run cannot go on; what runs comes to its end.
    fn break_off(&mut self, error: RunError) {
        self.stop(false);
        // Outputs that could not be published end no run.
        if matches!(self.failure, None | Some(RunError::Unpublished { .. })) {
            self.failure = Some(error);
        }
    }

    /// Nothing new begins. With `all`, what goes to the share ends too.
    fn stop(&mut self, all: bool) {
        self.stopping = true;
        self.sharing.iter().for_each(|sharing| sharing.stop(all));
    }

    /// The plan as it came out, and what was done. Ends the workers.
    fn end(mut self, scratch: Scratch) -> Outcome<'env> {
        let (mut needed, mut current) = (0, 0);
        for id in self.plan.needed() {
            needed += usize::from(!matches!(self.plan.state(id), State::Kept(_)));
            current += usize::from(matches!(self.plan.state(id), State::Current(..)));
        }
        self.summary.cached = current.saturating_sub(self.summary.ran);
        self.summary.skipped = needed - current - self.summary.failed.len();
        self.summary.unshared = self.sharing.as_ref().map_or(0, Sharing::unpublished);
        // Ctrl-C in a terminal ends cargo as well.
        let is_asked_for = |error: &RunError| self.summary.interrupted && matches!(error, RunError::Build(_));
        let failure = self.failure.filter(|error| !is_asked_for(error));
        Outcome { plan: self.plan, summary: self.summary, failure, scratch }
    }

    /// Starts a ready job, unless content it needs must be made again first, or another run is at it or has done it.
    fn try_start(&mut self, id: JobId, held: &Held) -> Result<bool, RunError> {
        let State::Stale(key, reason) = *self.plan.state(id) else { return Ok(false) };
        if self.is_running(key) {
            self.twins.entry(key).or_default().insert(id);
            return Ok(false);
        }
        if !self.project.store.try_lock(key)? {
            if self.elsewhere.is_empty() {
                let name = self.project.name(id);
                self.tell(&Happening::Waiting(&format!("another run is at {name}")));
            }
            self.elsewhere.insert(id, key);
            return Ok(false);
        }
        // It may have been done between the plan and the lock.
        self.project.store.refresh()?;
        let is_done = |artifacts: &Artifacts| match reason {
            Reason::NewKey => true,
            Reason::Forced => false,
            Reason::Gone(_) => artifacts.iter().all(|it| self.project.store.holds(it, &self.project.memo)),
        };
        if let Some(artifacts) = self.project.store.artifacts(key).filter(is_done) {
            self.project.store.unlock(key);
            self.plan.finish(id, key, artifacts);
            // A record alone may have come, from a share.
            match self.unsupplied(id) {
                Some(place) => {
                    self.plan.redo(id, place);
                    self.queue(id);
                }
                None => {
                    self.tell(&Happening::Spared(id));
                    self.settle(id);
                }
            }
            return Ok(false);
        }
        // With the lock: another run that has done this job may drop its inputs, but then the job is done. And while
        // nothing is collected, so that what is here now stays for the job.
        let hold = self.project.store.hold()?;
        let gone = self.plan.gone_inputs(id);
        self.intermediates.add(key)?;
        drop(hold);
        if !gone.is_empty() {
            self.project.store.unlock(key);
            if self.fetch_inputs(id, &gone) {
                return Ok(false);
            }
            if let Some((producer, _)) = gone.iter().find(|(producer, _)| self.plan.leaves(*producer)) {
                let name = self.project.name(*producer);
                let what =
                    format!("it needs what {name} made, which is not in the store; --light does not run it");
                self.refuse(id, &what);
                return Ok(false);
            }
            self.plan.wait(id);
            gone.into_iter().for_each(|(producer, place)| self.redo(producer, place));
            self.waiting[id.index()] = self.missing_producers(id);
            return Ok(false);
        }
        let assignment =
            self.assignment(id, key, held).expect("its inputs are known and its program is built");
        self.tell(&Happening::Started(id));
        self.running.insert(id, (key, held.clone()));
        self.pool.give(assignment, held, self.slots.free_memory());
        Ok(true)
    }

    /// Now and then, looks again at jobs whose keys another run was at.
    fn look_elsewhere(&mut self) -> Result<(), RunError> {
        if self.looked.elapsed() < ELSEWHERE {
            return Ok(());
        }
        self.looked = Instant::now();
        for (id, key) in std::mem::take(&mut self.elsewhere) {
            // A lock is the process's: of a key that runs here it would be given, and then given back too early.
            if !self.is_running(key) && self.project.store.try_lock(key)? {
                self.project.store.unlock(key);
                self.queue(id);
            } else {
                self.elsewhere.insert(id, key);
            }
        }
        Ok(())
    }

    pub(super) fn is_running(&self, key: Key) -> bool {
        self.running.values().any(|(running, _)| *running == key)
    }

    /// A job has ended, well or not.
    fn ended(
        &mut self,
        id: JobId,
        worker: usize,
        result: Result<Artifacts, (Failure, Vec<String>)>,
        seconds: f64,
    ) {
        let Some((key, held)) = self.running.remove(&id) else { return };
        self.slots.give(&held);
        self.project.store.unlock(key);
        self.twins.remove(&key).into_iter().flatten().for_each(|twin| self.queue(twin));
        let is_overtaken = self.overtaken.remove(&id);
        match result {
            Ok(artifacts) => {
                self.summary.ran += 1;
                let stage = self.stage(id).0;
                self.took[stage] = Some(Duration::from_secs_f64(seconds));
                self.tell(&Happening::Done(id, seconds));
                if let Some(sharing) = self.sharing.as_mut().filter(|_| self.options.push) {
                    sharing.publish(id, key, &artifacts);
                }
                if is_overtaken {
                    // What it made stands under the key of the inputs it had. They are others now, and so is its key.
                    self.wait(id);
                    self.learn(id);
                    self.settle_all();
                } else {
                    self.plan.finish(id, key, artifacts);
                    self.settle(id);
                }
            }
            // Its process was asked to end, by the run or by who asks the run too.
            Err(_) if self.summary.interrupted => {}
            Err((failure, _)) if failure.may_be_of_all() && self.interrupts.comes() => {}
            Err((failure, tail)) => self.fail(id, &failure.to_string(), &tail),
        }
        let (left, programs) = (&self.left, &self.programs);
        self.pool.free(worker, held, |launch| {
            let uses = |program: &Option<Program>| {
                matches!(program, Some(Program::Worker(it) | Program::Command(it)) if it == launch)
            };
            programs.iter().zip(left).any(|(program, left)| *left > 0 && uses(program))
        });
    }

    /// A job has run and failed.
    fn fail(&mut self, id: JobId, what: &str, tail: &[String]) {
        let is_logged = !self.options.discard;
        self.count_failed(id, &Happening::Failed { id, what, tail, is_logged });
    }

    /// A job cannot even begin.
    fn refuse(&mut self, id: JobId, what: &str) {
        self.count_failed(id, &Happening::Failed { id, what, tail: &[], is_logged: false });
    }

    fn count_failed(&mut self, id: JobId, happening: &Happening) {
        self.summary.failed.push(id);
        let stage = self.stage(id).0;
        self.left[stage] -= 1;
        self.tell(happening);
        if !self.options.keep_going {
            self.stop(false);
        }
    }

    /// A job has become current.
    fn settle(&mut self, id: JobId) {
        self.settling.insert(id);
        self.settle_all();
    }

    /// Publishes what has become current, and lets dependents learn their keys, which makes some of them current too.
    fn settle_all(&mut self) {
        let project = self.project;
        while let Some(id) = self.settling.pop_first() {
            let stage = self.stage(id).0;
            self.left[stage] -= 1;
            self.publish(id);
            if let Err(error) = self.intermediates.settled(&self.plan, id) {
                self.break_off(error.into());
            }
            let has_changed = self.plan.has_changed(id);
            for &dependent in &project.graph.dependents[id.index()] {
                match self.plan.state(dependent) {
                    State::Waiting => {
                        self.waiting[dependent.index()] -= 1;
                        self.learn(dependent);
                    }
                    State::Current(..) if has_changed => {
                        self.wait(dependent);
                        self.unsettle(dependent);
                        self.learn(dependent);
                    }
                    State::Stale(..) if has_changed && self.running.contains_key(&dependent) => {
                        self.overtaken.insert(dependent);
                    }
                    _ => {}
                }
            }
        }
    }

    /// A waiting job learns its key if all its inputs are known, and with it whether it has to run.
    fn learn(&mut self, id: JobId) {
        if self.waiting[id.index()] > 0 {
            return;
        }
        self.plan.resolve(id);
        if let Some(place) = self.unsupplied(id) {
            self.plan.redo(id, place);
        }
        match self.plan.state(id) {
            State::Current(..) => {
                self.tell(&Happening::Spared(id));
                self.settling.insert(id);
            }
            State::Kept(_) => drop(self.settling.insert(id)),
            _ if self.plan.leaves(id) => self.refuse(id, "it never ran, and --light does not run it"),
            _ => self.queue(id),
        }
    }

    /// A job waits for its producers, as many as are not current.
    fn wait(&mut self, id: JobId) {
        self.plan.wait(id);
        self.waiting[id.index()] = self.missing_producers(id);
    }

    /// A current job whose content is gone has to run again.
    fn redo(&mut self, id: JobId, place: u16) {
        if matches!(self.plan.state(id), State::Current(..)) {
            self.plan.redo(id, place);
            self.unsettle(id);
            match self.missing_producers(id) {
                0 => self.queue(id),
                _ => self.wait(id),
            }
        }
    }

    /// A job is no longer current: it counts as left, and dependents that have not started wait for it.
    fn unsettle(&mut self, id: JobId) {
        let stage = self.stage(id).0;
        self.left[stage] += 1;
        self.intermediates.unsettled(&self.plan, id);
        let project = self.project;
        for &dependent in &project.graph.dependents[id.index()] {
            let stage = self.stage(dependent).0;
            match self.plan.state(dependent) {
                State::Waiting => self.waiting[dependent.index()] += 1,
                &State::Stale(key, _)
                    if self.ready[stage].remove(&dependent)
                        || self.twins.get_mut(&key).is_some_and(|twins| twins.remove(&dependent))
                        || self.elsewhere.remove(&dependent).is_some()
                        || self.sharing.as_mut().is_some_and(|sharing| sharing.forget(dependent)) =>
                {
                    self.wait(dependent);
                }
                _ => {}
            }
        }
    }

    /// A stale job may run when there is a slot, unless a share has its work.
    fn queue(&mut self, id: JobId) {
        if self.ask(id).is_some() {
            return;
        }
        let stage = self.stage(id).0;
        self.ready[stage].insert(id);
    }

    fn missing_producers(&self, id: JobId) -> usize {
        let is_missing = |id: &JobId| !self.plan.is_settled(*id) || self.settling.contains(id);
        self.project.graph.producers(id).iter().filter(|id| is_missing(id)).count()
    }

    fn stage(&self, id: JobId) -> StageId {
        self.project.graph.job(id).stage
    }

    fn tell(&mut self, happening: &Happening) {
        self.report.tell(self.project, happening);
    }
}
