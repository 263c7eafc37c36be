//! Slots: threads, memory and cards that running jobs share.

use std::fs::File;
use std::path::Path;

use crate::cgroups;
use crate::pipeline::{Gpu, Needs};

/// What a machine gives to jobs, and what is free of it.
#[derive(Debug, Clone)]
pub struct Slots {
    threads: u32,
    free_threads: u32,
    memory: u64,
    free_memory: u64,
    cards: Vec<Card>,
}

#[derive(Debug, Clone)]
struct Card {
    device: String,
    /// Jobs on it, all of one kind: how many of them may share it.
    jobs: u32,
    per_gpu: u32,
}

/// What a running job holds, and a process that waits for its next job keeps of it: all but threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    threads: u32,
    memory: u64,
    card: Option<usize>,
    /// `cpu` or `cuda:N`.
    pub device: String,
}

/// Why a job does not start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Threads or memory: a job that is first in line should get what is freed.
    Machine,
    /// The cards: others may go first.
    Cards,
}

impl Slots {
    /// Slots for `threads` CPU threads, `memory` bytes and these cards (`cuda:0`).
    pub fn new(threads: u32, memory: u64, cards: Vec<String>) -> Slots {
        let cards = cards.into_iter().map(|device| Card { device, jobs: 0, per_gpu: 1 }).collect();
        Slots { threads, free_threads: threads, memory, free_memory: memory, cards }
    }

    /// Slots of this machine: so many CPU threads, or all it has.
    pub fn here(threads: Option<u32>) -> Slots {
        Slots::new(threads.unwrap_or_else(threads_here).max(1), memory_here(), cards_here())
    }

    /// CPU threads in all.
    pub fn threads(&self) -> u32 {
        self.threads
    }

    /// How many cards there are.
    pub fn cards(&self) -> usize {
        self.cards.len()
    }

    /// Takes what a job needs. A job that needs more than the machine has gets all of it, alone.
    ///
    /// # Errors
    /// What is short.
    pub fn take(&mut self, needs: &Needs) -> Result<Held, Full> {
        let threads = needs.threads.min(self.threads);
        let memory = needs.memory.min(self.memory);
        if threads > self.free_threads || memory > self.free_memory {
            return Err(Full::Machine);
        }
        let card = match needs.gpu {
            Gpu::None => None,
            Gpu::Prefer if self.cards.is_empty() => None,
            Gpu::Prefer | Gpu::Require => Some(self.free_card(needs.per_gpu).ok_or(Full::Cards)?),
        };
        if let Some(card) = card.map(|card| &mut self.cards[card]) {
            card.jobs += 1;
            card.per_gpu = needs.per_gpu;
        }
        self.free_threads -= threads;
        self.free_memory -= memory;
        let device = card.map_or("cpu".to_owned(), |card| self.cards[card].device.clone());
        Ok(Held { threads, memory, card, device })
    }

    /// Bytes that no job holds.
    pub fn free_memory(&self) -> u64 {
        self.free_memory
    }

    /// Gives back what a job held.
    pub fn give(&mut self, held: &Held) {
        self.free_threads += held.threads;
        self.free_memory += held.memory;
        if let Some(card) = held.card {
            self.cards[card].jobs -= 1;
        }
    }

    /// The emptiest card that takes another job which shares with `per_gpu` of its kind.
    fn free_card(&self, per_gpu: u32) -> Option<usize> {
        let takes = |card: &Card| card.jobs == 0 || (card.per_gpu == per_gpu && card.jobs < per_gpu);
        let fitting = self.cards.iter().enumerate().filter(|(_, card)| takes(card));
        fitting.min_by_key(|(_, card)| card.jobs).map(|(index, _)| index)
    }
}

impl Held {
    /// Bytes.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// Whether both are on one card.
    pub fn shares_card(&self, other: &Held) -> bool {
        self.card.is_some() && self.card == other.card
    }
}

/// CPU threads that jobs may use: those that this process may run on, and no more than a Slurm job was given, which some
/// clusters do not enforce.
fn threads_here() -> u32 {
    let own = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let given = ["SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok()?.parse::<u32>().ok())
        .max();
    own.min(given.unwrap_or(u32::MAX))
}

/// Bytes of memory that jobs may use: what is free now, on the machine and in the control groups of this process, or all that
/// cannot be told.
fn memory_here() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|n| n.parse::<u64>().ok());
    let free = kilobytes.map_or(u64::MAX, |n| n * 1024);
    cgroups::memory_left().map_or(free, |left| free.min(left))
}

/// The cards: those that `CUDA_VISIBLE_DEVICES` names where it is set, else those that have device files.
fn cards_here() -> Vec<String> {
    let number = match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(list) => visible(&list),
        Err(_) => {
            let files = std::fs::read_dir("/dev").into_iter().flatten().flatten();
            let cards = files.filter(|file| is_card(&file.file_name().to_string_lossy()));
            // A Slurm job that was given no card may see their files all the same. Outside, opening one would only wake it.
            let is_given = |path: &Path| {
                std::env::var_os("SLURM_JOB_ID").is_none()
                    || File::options().read(true).write(true).open(path).is_ok()
            };
            let number = cards.filter(|file| is_given(&file.path())).count();
            // Windows' subsystem for Linux has no file a card; CUDA is there where Windows has it.
            number.max(usize::from(WINDOWS.iter().all(|path| Path::new(path).exists())))
        }
    };
    (0..number).map(|n| format!("cuda:{n}")).collect()
}

/// The device of Windows' subsystem for Linux, and its CUDA.
const WINDOWS: [&str; 2] = ["/dev/dxg", "/usr/lib/wsl/lib/libcuda.so.1"];

/// How many cards a value of `CUDA_VISIBLE_DEVICES` lets a program see, by numbers or by names: CUDA stops at the first that
/// is none, and numbers those before it from 0. Of parts of cards (MIG) a program sees one.
fn visible(list: &str) -> usize {
    let is_one = |id: &&str| {
        let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        is_number || id.starts_with("GPU-") || id.starts_with("MIG-")
    };
    let ids = list.split(',').map(str::trim).take_while(is_one);
    let (parts, cards): (Vec<&str>, Vec<&str>) = ids.partition(|id| id.starts_with("MIG-"));
    if parts.is_empty() { cards.len() } else { 1 }
}

/// Whether a name in /dev is a card's: `nvidia0`, where `nvidiactl` and the like are not.
fn is_card(name: &str) -> bool {
    name.strip_prefix("nvidia").is_some_and(|number| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(threads: u32, memory: u64, gpu: Gpu, per_gpu: u32) -> Needs {
        Needs { threads, memory, gpu, per_gpu }
    }

    #[test]
    fn threads_and_memory_are_shared_and_come_back() {
        let mut slots = Slots::new(2, 100, Vec::new());
        let held = slots.take(&needs(1, 60, Gpu::None, 1)).unwrap();
        assert_eq!(slots.take(&needs(1, 60, Gpu::None, 1)), Err(Full::Machine));
        assert_eq!(slots.take(&needs(2, 0, Gpu::None, 1)), Err(Full::Machine));
        slots.give(&held);
        assert!(slots.take(&needs(9, 900, Gpu::None, 1)).is_ok(), "more than there is means all of it");
    }

    #[test]
    fn jobs_are_spread_over_cards_as_many_as_may_share() {
        let cards = vec!["cuda:0".to_owned(), "cuda:1".to_owned()];
        let mut slots = Slots::new(8, 100, cards);
        let devices: Vec<Held> = (0..4).map(|_| slots.take(&needs(1, 0, Gpu::Prefer, 2)).unwrap()).collect();
        let names: Vec<&str> = devices.iter().map(|held| held.device.as_str()).collect();
        assert_eq!(names, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]);
        assert_eq!(slots.take(&needs(1, 0, Gpu::Prefer, 2)), Err(Full::Cards));
        slots.give(&devices[0]);
        assert_eq!(
            slots.take(&needs(1, 0, Gpu::Require, 1)),
            Err(Full::Cards),
            "another kind wants it empty"
        );
        assert_eq!(slots.take(&needs(1, 0, Gpu::Prefer, 2)).unwrap().device, "cuda:0");
    }

    #[test]
    fn cards_are_those_that_cuda_is_told_to_show_or_that_have_device_files() {
        assert_eq!(["", "-1", "NoDevFiles", "none", "void"].map(visible), [0; 5]);
        assert_eq!(
            ["0", "2, 3", "1,-1,0", "1,none", "GPU-8932f937,GPU-46b1ae3a"].map(visible),
            [1, 2, 1, 1, 2]
        );
        assert_eq!(["MIG-1a", "MIG-1a,MIG-2b"].map(visible), [1, 1]);
        let names = ["nvidia0", "nvidia13", "nvidiactl", "nvidia-uvm", "nvidia", "null"];
        assert_eq!(names.map(is_card), [true, true, false, false, false, false]);
    }

    #[test]
    fn without_cards_a_job_that_prefers_one_runs_on_the_processor() {
        let mut slots = Slots::new(1, 0, Vec::new());
        assert_eq!(slots.take(&needs(1, 0, Gpu::Prefer, 4)).unwrap().device, "cpu");
    }
}
