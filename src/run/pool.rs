//! The workers of a run: started when there is a job for them, kept while more such jobs may come.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::Scope;

use super::assignment::Assignment;
use super::process::{Group, Launch};
use super::worker::{Told, Worker};
use crate::project::Project;
use crate::store::Machine;

/// A run's workers. Each has a thread, a folder and, once it had a job, a process.
pub struct Pool<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    project: &'env Project,
    folder: PathBuf,
    told: Sender<Told>,
    machine: Arc<Machine>,
    workers: Vec<Member>,
    /// By program and device: a process keeps memory on a card that it has used, and would keep some on each.
    idle: HashMap<Launch, HashMap<String, Vec<usize>>>,
}

struct Member {
    launch: Launch,
    device: String,
    group: Group,
    /// None when it is retired.
    assignments: Option<Sender<Assignment>>,
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
        Pool { scope, project, folder, told, machine, workers: Vec::new(), idle: HashMap::new() }
    }

    /// Gives a job to an idle worker of its program that has worked on its device, or to a new one.
    pub fn give(&mut self, assignment: Assignment) {
        let (launch, device) = (assignment.program.launch(), &assignment.device);
        let idle = self.idle.get_mut(launch).and_then(|idle| idle.get_mut(device)?.pop());
        let number = idle.unwrap_or_else(|| self.add(launch.clone(), device.clone()));
        if let Some(assignments) = &self.workers[number].assignments {
            assignments.send(assignment).expect("a worker's thread lives as long as its sender");
        }
    }

    /// A worker has ended its job. It waits for the next one if more may come; otherwise it and its memory go.
    pub fn free(&mut self, number: usize, more_may_come: impl Fn(&Launch) -> bool) {
        let Member { launch, device, .. } = &self.workers[number];
        if more_may_come(launch) {
            let idle = self.idle.entry(launch.clone()).or_default();
            idle.entry(device.clone()).or_default().push(number);
        } else {
            let idle = self.idle.remove(launch).unwrap_or_default();
            self.workers[number].assignments = None;
            for idle in idle.into_values().flatten() {
                self.workers[idle].assignments = None;
            }
        }
    }

    /// Asks all processes to end.
    pub fn end(&self) {
        self.workers.iter().for_each(|worker| worker.group.end());
    }

    fn add(&mut self, launch: Launch, device: String) -> usize {
        let number = self.workers.len();
        let (assignments, inbox) = channel();
        let group = Group::default();
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
        self.scope.spawn(move || worker.work(inbox));
        self.workers.push(Member { launch, device, group, assignments: Some(assignments) });
        number
    }
}
