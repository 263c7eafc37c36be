//! The workers of a run: started when there is a job for them, kept while more such jobs may come and nobody else needs
//! what they keep.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::Scope;

use super::assignment::{Assignment, Program};
use super::process::{Group, Launch};
use super::worker::{Told, Worker};
use crate::project::Project;
use crate::slots::Held;
use crate::store::Machine;

/// A run's workers. Each has a thread, a folder and, once it had a job, a process.
pub struct Pool<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    project: &'env Project,
    folder: PathBuf,
    told: Sender<Told>,
    machine: Arc<Machine>,
    /// By number, the oldest first.
    workers: BTreeMap<usize, Member>,
    /// How many there have been.
    started: usize,
}

struct Member {
    launch: Launch,
    group: Group,
    /// None when it is to end.
    assignments: Option<Sender<Assignment>>,
    /// What its last job held; none while it has a job.
    held: Option<Held>,
    /// Whether its process stays between jobs, and keeps what they held.
    stays: bool,
    gone: Arc<Gone>,
}

/// Whether a worker and its process are gone.
#[derive(Debug, Default)]
pub struct Gone(OnceLock<()>);

impl Gone {
    /// Waits until they are.
    pub fn wait(&self) {
        self.0.wait();
    }
}

/// Says so when the worker's thread ends.
struct Going(Arc<Gone>);

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.0.0.set(());
    }
}

impl Member {
    fn is_idle(&self) -> bool {
        self.held.is_some() && self.assignments.is_some()
    }

    /// What its process keeps while it has no job.
    fn kept(&self) -> Option<&Held> {
        self.held.as_ref().filter(|_| self.stays)
    }

    fn is_gone(&self) -> bool {
        self.gone.0.get().is_some()
    }
}

impl<'scope, 'env> Pool<'scope, 'env> {
    /// No workers yet; they will have folders below `folder` and report to `told`.
    pub fn new(
        scope: &'scope Scope<'scope, 'env>,
        project: &'env Project,
        folder: PathBuf,
        told: Sender<Told>,
    ) -> Self {
        let machine = Arc::new(Machine::here());
        Pool { scope, project, folder, told, machine, workers: BTreeMap::new(), started: 0 }
    }

    /// Gives a job, for which `held` was taken, to an idle worker of its program on its device, or to a new one. Bytes
    /// of memory that no job holds are `free`, though idle workers may keep some of them.
    pub fn give(&mut self, mut assignment: Assignment, held: &Held, free: u64) {
        self.workers.retain(|_, worker| !worker.is_gone());
        let launch = assignment.program.launch();
        let fits = |worker: &Member| {
            let had_device = worker.held.as_ref().is_some_and(|had| had.device == held.device);
            worker.is_idle() && had_device && worker.launch == *launch
        };
        let idle = self.workers.iter().rev().find(|(_, worker)| fits(worker)).map(|(number, _)| *number);
        let number = idle.unwrap_or_else(|| self.add(&assignment.program));
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.held = None;
        }
        assignment.after = self.make_room(assignment.program.launch(), held, free);
        if let Some(assignments) = self.workers.get(&number).and_then(|worker| worker.assignments.as_ref()) {
            assignments.send(assignment).expect("a worker's thread lives as long as its sender");
        }
    }

    /// A worker has ended a job that held something. It waits for the next one if more may come; otherwise it and its
    /// memory go.
    pub fn free(&mut self, number: usize, held: Held, more_may_come: impl Fn(&Launch) -> bool) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        worker.held = Some(held);
        if !more_may_come(&worker.launch) {
            let launch = worker.launch.clone();
            let idle = self.workers.values_mut().filter(|it| it.is_idle() && it.launch == launch);
            idle.for_each(|worker| worker.assignments = None);
        }
    }

    /// Asks all processes to end.
    pub fn end(&self) {
        self.workers.values().for_each(|worker| worker.group.end());
    }

    /// Ends idle workers, the oldest first, that keep what a job is to have: its card, if they are of another program, or
    /// memory, as long as they keep more than is free without the job. Those are told that it has to wait for.
    fn make_room(&mut self, launch: &Launch, held: &Held, free: u64) -> Vec<Arc<Gone>> {
        let mut kept: u64 = self.workers.values().filter_map(Member::kept).map(Held::memory).sum();
        let mut ending = Vec::new();
        for worker in self.workers.values_mut() {
            let Some(keeps) = worker.kept() else { continue };
            let memory = keeps.memory();
            if worker.launch != *launch && keeps.shares_card(held) || kept > free && memory > 0 {
                kept -= memory;
                worker.assignments = None;
                ending.push(worker.gone.clone());
            }
        }
        ending
    }

    fn add(&mut self, program: &Program) -> usize {
        let number = self.started;
        self.started += 1;
        let (assignments, inbox) = channel();
        let (group, gone) = (Group::default(), Arc::<Gone>::default());
        // Named after the run's scratch folder, which no other run has.
        let run = self.folder.file_name().unwrap_or_default().to_string_lossy();
        let worker = Worker {
            number,
            folder: self.folder.join(format!("w{number}")),
            slot: self.project.store.slot(&format!("{run}.w{number}")),
            project: self.project,
            store: &self.project.store,
            memo: &self.project.memo,
            machine: self.machine.clone(),
            group: group.clone(),
            told: self.told.clone(),
            begun: 0,
        };
        let going = Going(gone.clone());
        self.scope.spawn(move || {
            let _going = going;
            worker.work(inbox);
        });
        let (launch, stays) = (program.launch().clone(), matches!(program, Program::Worker(_)));
        let member = Member { launch, group, assignments: Some(assignments), held: None, stays, gone };
        self.workers.insert(number, member);
        number
    }
}
