//! A crew: threads that do errands, as many at once as a share takes requests.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope};

type Errand<'scope> = Box<dyn FnOnce() + Send + 'scope>;

/// Threads that wait for errands. They end when the crew is dropped and its errands are done.
pub struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    width: u32,
    threads: u32,
    give: Sender<Errand<'scope>>,
    take: Arc<Mutex<Receiver<Errand<'scope>>>>,
}

impl<'scope, 'env> Crew<'scope, 'env> {
    /// A crew of `width` threads, which begin when there is something to do.
    pub fn new(scope: &'scope Scope<'scope, 'env>, width: u32) -> Crew<'scope, 'env> {
        let (give, take) = channel();
        Crew { scope, width, threads: 0, give, take: Arc::new(Mutex::new(take)) }
    }

    /// Gives an errand to whoever is free next.
    pub fn send(&mut self, errand: impl FnOnce() + Send + 'scope) {
        if self.threads < self.width {
            let take = self.take.clone();
            let work = move || {
                loop {
                    let next = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(errand) = next else { return };
                    errand();
                }
            };
            match Builder::new().spawn_scoped(self.scope, work) {
                Ok(_) => self.threads += 1,
                // The system gives no more: those that are there do it.
                Err(_) if self.threads > 0 => self.width = self.threads,
                Err(_) => return errand(),
            }
        }
        // Threads listen as long as the crew is there.
        let _ = self.give.send(Box::new(errand));
    }
}

/// Does something with each item, `width` at a time, and tells each result as it comes.
pub fn each<T: Send, R: Send>(
    width: u32,
    items: impl IntoIterator<Item = T>,
    act: impl Fn(T) -> R + Sync,
    mut told: impl FnMut(R),
) {
    std::thread::scope(|scope| {
        let (tell, results) = channel();
        let mut crew = Crew::new(scope, width);
        let act = &act;
        for item in items {
            let tell = tell.clone();
            crew.send(move || drop(tell.send(act(item))));
        }
        drop((crew, tell));
        results.into_iter().for_each(&mut told);
    });
}

/// Threads that others may have as helpers, beside their own: an errand of many parts is done by as many as are free, and by
/// the one that has it where none is.
#[derive(Debug)]
pub struct Helpers(Mutex<u32>);

impl Helpers {
    /// So many.
    pub fn new(number: u32) -> Helpers {
        Helpers(Mutex::new(number))
    }

    /// Does something with each part, and tells each result as it comes.
    pub fn each<T: Sync, R: Send>(&self, parts: &[T], act: impl Fn(&T) -> R + Sync, told: impl FnMut(R)) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = (*free).min(parts.len().try_into().unwrap_or(u32::MAX));
        let taken = if taken > 1 { taken } else { 0 };
        *free -= taken;
        drop(free);
        match taken {
            0 => parts.iter().map(&act).for_each(told),
            width => each(width, parts, &act, told),
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += taken;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn everything_is_done_and_no_more_at_once_than_the_width() {
        let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
        let mut results = Vec::new();
        let act = |n: u32| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(2));
            now.fetch_sub(1, Ordering::SeqCst);
            n * n
        };
        each(4, 0..50, act, |result| results.push(result));
        results.sort();
        assert_eq!(results, (0..50).map(|n| n * n).collect::<Vec<_>>());
        assert!((2..=4).contains(&most.into_inner()));
    }

    #[test]
    fn errands_of_many_parts_share_their_helpers() {
        let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
        let helpers = Helpers::new(4);
        let part = |n: &u32| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
            now.fetch_sub(1, Ordering::SeqCst);
            *n
        };
        let mut sums = Vec::new();
        let errand = |n: u32| {
            let mut sum = 0;
            helpers.each(&[n; 10], part, |result| sum += result);
            sum
        };
        each(3, 0..6, errand, |sum| sums.push(sum));
        sums.sort();
        assert_eq!(sums, [0, 10, 20, 30, 40, 50]);
        assert!((2..=3 + 4).contains(&most.into_inner()));
        assert_eq!(*helpers.0.lock().unwrap(), 4);
    }
}
