//! The run queue: one FIFO and one LIFO slot per worker, and a shared injector.
//!
//! A service that a worker has just woken goes into that worker's LIFO slot,
//! where it finds its caches warm; what was there moves to the FIFO. Work made
//! outside the workers goes to the injector. A worker without work steals half
//! of another one's FIFO.
//!
//! Two dangers of the slot are capped. Services that keep waking each other
//! through it would starve the FIFO: after [`LIFO_RUNS`] consecutive runs the FIFO has
//! its turn. And what waits in it behind a long callback would wait for its
//! end: [`RunQueues::steal_slot`] takes it, if it sat there while its worker made no progress.

use std::collections::VecDeque;

use crate::sched::Task;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Consecutive runs from the LIFO slot before the FIFO has its turn.
pub(crate) const LIFO_RUNS: u32 = 32;
/// Every how many turns the injector goes first.
const INJECTOR_TURN: u32 = 31;

/// A FIFO with a length that can be read without its lock.
struct Fifo {
    tasks: Mutex<VecDeque<Task>>,
    /// Changed under the lock, read anywhere.
    length: AtomicUsize,
}

impl Fifo {
    fn new() -> Self {
        Self {
            tasks: Mutex::new(VecDeque::new()),
            length: AtomicUsize::new(0),
        }
    }

    fn len(&self) -> usize {
        // SeqCst: pairs with the store in `push`, see idle.rs.
        self.length.load(Ordering::SeqCst)
    }

    /// Returns the length with the new task.
    fn push(&self, task: Task) -> usize {
        let mut tasks = self.tasks.lock();
        tasks.push_back(task);
        let length = tasks.len();
        self.length.store(length, Ordering::SeqCst);
        length
    }

    fn pop(&self) -> Option<Task> {
        if self.len() == 0 {
            return None;
        }
        let mut tasks = self.tasks.lock();
        let task = tasks.pop_front();
        self.length.store(tasks.len(), Ordering::SeqCst);
        task
    }

    /// Takes the older half, at least one; the first of it is returned, the rest goes to `to`.
    fn steal_half(&self, to: &Self) -> Option<Task> {
        if self.len() == 0 {
            return None;
        }
        let mut taken: VecDeque<Task>;
        {
            let mut tasks = self.tasks.lock();
            let half = tasks.len().div_ceil(2);
            taken = tasks.drain(..half).collect();
            self.length.store(tasks.len(), Ordering::SeqCst);
        }
        let first = taken.pop_front();
        if !taken.is_empty() {
            let mut tasks = to.tasks.lock();
            tasks.append(&mut taken);
            to.length.store(tasks.len(), Ordering::SeqCst);
        }
        first
    }
}

/// The queues of one worker, open to all; written at every turn, so they share no cache line.
#[repr(align(128))]
struct Queues {
    fifo: Fifo,
    /// The service woken last; 0 = none. The worker puts in, anybody may take out.
    slot: AtomicUsize,
}

/// What the owner of a worker's queues keeps for itself.
#[derive(Debug)]
pub(crate) struct Local {
    index: usize,
    turn: u32,
    slot_runs: u32,
    random: u32,
}

impl Local {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            turn: 0,
            slot_runs: 0,
            random: 0x9e37_79b9 ^ (index as u32 + 1),
        }
    }

    fn next_random(&mut self) -> usize {
        // xorshift: only spreads where stealing begins.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random as usize
    }
}

/// How long a FIFO must be for another worker to be woken at once. A shorter
/// one is done by its own worker before a sleeping core is awake, or taken by
/// the watcher after a period (idle.rs).
const BACKLOG: usize = 4;

/// What the pusher should do about sleeping workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wake {
    /// There is work that this worker cannot begin at once: wake one.
    Needed,
    /// The worker itself takes it next; a watcher suffices (see idle.rs).
    Watch,
    /// The worker itself takes it next.
    No,
}

/// All run queues of a node.
pub(crate) struct RunQueues {
    workers: Box<[Queues]>,
    injector: Fifo,
}

impl RunQueues {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers)
                .map(|_| Queues {
                    fifo: Fifo::new(),
                    slot: AtomicUsize::new(0),
                })
                .collect(),
            injector: Fifo::new(),
        }
    }

    /// Puts a task from outside the workers in.
    pub(crate) fn inject(&self, task: Task) {
        self.injector.push(task);
    }

    /// Worker `index` has just woken this service.
    pub(crate) fn push_woken(&self, index: usize, task: Task) -> Wake {
        let queues = &self.workers[index];
        // SeqCst: this store is ordered before the look at the sleepers (idle.rs).
        let displaced = queues.slot.swap(task, Ordering::SeqCst);
        if displaced == 0 {
            return Wake::Watch;
        }
        if queues.fifo.push(displaced) >= BACKLOG {
            Wake::Needed
        } else {
            Wake::Watch
        }
    }

    /// Worker `index` has run this service, which has more to do.
    pub(crate) fn push_back(&self, index: usize, task: Task) -> Wake {
        let queues = &self.workers[index];
        let length = queues.fifo.push(task);
        if length >= BACKLOG {
            Wake::Needed
        } else if length > 1 || queues.slot.load(Ordering::Relaxed) != 0 {
            // One of them is not the next.
            Wake::Watch
        } else {
            Wake::No
        }
    }

    /// The next task of a worker.
    pub(crate) fn next(&self, local: &mut Local) -> Option<Task> {
        let queues = &self.workers[local.index];
        local.turn = local.turn.wrapping_add(1);
        if local.turn.is_multiple_of(INJECTOR_TURN)
            && let Some(task) = self.injector.pop()
        {
            local.slot_runs = 0;
            return Some(task);
        }
        if local.slot_runs < LIFO_RUNS {
            if let Some(task) = take(&queues.slot) {
                local.slot_runs += 1;
                return Some(task);
            }
        } else if let Some(task) = take(&queues.slot) {
            queues.fifo.push(task);
        }
        local.slot_runs = 0;
        if let Some(task) = queues.fifo.pop() {
            return Some(task);
        }
        self.injector.pop()
    }

    /// Takes work from another worker.
    pub(crate) fn steal(&self, local: &mut Local) -> Option<Task> {
        let count = self.workers.len();
        let start = local.next_random();
        (0..count)
            .map(|i| (start + i) % count)
            .filter(|&victim| victim != local.index)
            .find_map(|victim| {
                self.workers[victim]
                    .fifo
                    .steal_half(&self.workers[local.index].fifo)
            })
    }

    /// What is in a worker's slot; 0 = nothing.
    pub(crate) fn slot(&self, index: usize) -> Task {
        self.workers[index].slot.load(Ordering::SeqCst)
    }

    /// Takes `seen` out of a worker's slot, if it is still there.
    pub(crate) fn steal_slot(&self, index: usize, seen: Task) -> Option<Task> {
        self.workers[index]
            .slot
            .compare_exchange(seen, 0, Ordering::SeqCst, Ordering::Relaxed)
            .ok()
    }

    /// Whether a FIFO or the injector holds work.
    pub(crate) fn has_work(&self) -> bool {
        self.injector.len() > 0 || self.workers.iter().any(|w| w.fifo.len() > 0)
    }

    /// Whether any worker's slot holds work.
    pub(crate) fn has_slot_work(&self) -> bool {
        self.workers
            .iter()
            .any(|w| w.slot.load(Ordering::SeqCst) != 0)
    }
}

fn take(slot: &AtomicUsize) -> Option<Task> {
    // A plain look first: the slot is mostly empty when it does not matter.
    if slot.load(Ordering::Relaxed) == 0 {
        return None;
    }
    match slot.swap(0, Ordering::SeqCst) {
        0 => None,
        task => Some(task),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_begin_at_once_is_watched() {
        let queues = RunQueues::new(1);
        // Alone it is next.
        assert_eq!(queues.push_back(0, 1), Wake::No);
        // Behind another one it is not.
        assert_eq!(queues.push_back(0, 2), Wake::Watch);
        assert_eq!(queues.push_woken(0, 3), Wake::Watch);
        assert_eq!(queues.push_woken(0, 4), Wake::Watch);
        assert_eq!(queues.push_back(0, 5), Wake::Needed);
        let mut local = Local::new(0);
        let order: Vec<_> = std::iter::from_fn(|| queues.next(&mut local)).collect();
        assert_eq!(order, [4, 1, 2, 3, 5]);
    }

    #[test]
    fn services_that_wake_each_other_do_not_starve_the_rest() {
        let queues = RunQueues::new(1);
        let mut local = Local::new(0);
        queues.push_back(0, 1);
        queues.push_woken(0, 2);
        let mut runs = 0;
        while queues.next(&mut local) == Some(2) {
            queues.push_woken(0, 2);
            runs += 1;
        }
        assert_eq!(runs, LIFO_RUNS);
    }

    #[test]
    fn what_comes_from_outside_has_its_turn() {
        let queues = RunQueues::new(1);
        let mut local = Local::new(0);
        queues.inject(9);
        for task in [1, 2] {
            queues.push_back(0, task);
        }
        let mut turns = 0;
        loop {
            turns += 1;
            match queues.next(&mut local) {
                Some(9) => break,
                Some(task) => queues.push_back(0, task),
                None => panic!("nothing was taken out"),
            };
        }
        assert_eq!(turns, INJECTOR_TURN);
    }
}
