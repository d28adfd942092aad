//! The worker threads.

use std::sync::atomic::AtomicU64;

use crate::context::Context;
use crate::current;
use crate::node::Node;
use crate::sched::idle::{Idle, QUIET_PERIODS, WATCH_PERIOD};
use crate::sched::run_queue::{Local, RunQueues, Wake};
use crate::sched::step::{self, After, Progress};
use crate::sched::{Task, task_of};
use crate::sync::atomic::{AtomicBool, Ordering};

/// The weight of worker `index` (spec/01-core.md §2.1).
pub(crate) fn weight_of(index: usize) -> i32 {
    match index {
        0..=3 => -1,
        4..=7 => 0,
        8..=15 => 1,
        16..=23 => 2,
        24..=31 => 3,
        _ => 0,
    }
}

/// The worker threads' common state.
pub(crate) struct Workers {
    queues: RunQueues,
    idle: Idle,
    progress: Box<[Progress]>,
    /// `pthread_t` of each running worker, 0 before it started.
    threads: Box<[AtomicU64]>,
    stop: AtomicBool,
}

impl Workers {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            queues: RunQueues::new(count),
            idle: Idle::new(count),
            progress: (0..count).map(|_| Progress::default()).collect(),
            threads: (0..count).map(|_| AtomicU64::new(0)).collect(),
            stop: AtomicBool::new(false),
        }
    }

    pub(crate) fn progress(&self) -> &[Progress] {
        &self.progress
    }

    /// The `pthread_t` of a worker that has started.
    pub(crate) fn thread(&self, index: usize) -> Option<u64> {
        Some(self.threads[index].load(Ordering::Acquire)).filter(|&t| t != 0)
    }

    /// Puts a service that became scheduled into a run queue.
    pub(crate) fn schedule(&self, node: &Node, context: &Context) {
        let task = task_of(context);
        match current::worker_of(node) {
            Some(index) => self.wake(self.queues.push_woken(index, task)),
            None => self.inject(task),
        }
    }

    /// Puts a task from outside the workers in.
    pub(crate) fn inject(&self, task: Task) {
        self.queues.inject(task);
        self.idle.wake_one();
    }

    fn wake(&self, wake: Wake) {
        match wake {
            Wake::Needed => self.idle.wake_one(),
            Wake::Watch => self.idle.want_watcher(),
            Wake::No => {}
        }
    }

    /// Ends all workers after their current turn.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.idle.wake_all();
    }

    /// The loop of worker `index`.
    pub(crate) fn run(&self, node: &Node, index: usize) {
        // SAFETY: pthread_self has no preconditions.
        let this = unsafe { libc::pthread_self() };
        self.threads[index].store(this as u64, Ordering::Release);
        let mut local = Local::new(index);
        let weight = weight_of(index);
        crate::cpu::mark();
        current::enter(node, index, 0, || {
            while let Some(task) = self.next(&mut local, index) {
                // SAFETY: tasks are addresses of the node's contexts, which
                // live as long as the node.
                let context = unsafe { &*(task as *const Context) };
                if step::run(node, context, weight, &self.progress[index]) == After::Requeue {
                    self.wake(self.queues.push_back(index, task));
                }
            }
        });
    }

    /// The next task; waits for one. `None` at the end.
    pub(crate) fn next(&self, local: &mut Local, index: usize) -> Option<Task> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(task) = self.queues.next(local) {
            return Some(task);
        }
        self.next_slowly(local, index)
    }

    #[cold]
    fn next_slowly(&self, local: &mut Local, index: usize) -> Option<Task> {
        let mut searching: bool;
        let mut woken_to_search = false;
        let mut watch = Watch::default();
        let mut slept = false;
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return None;
            }
            let found = self
                .queues
                .next(local)
                .or_else(|| self.queues.steal(local))
                .or_else(|| watch.take_stuck(self, index));
            if found.is_some() {
                self.idle.stop_watching(index);
                if woken_to_search && self.idle.end_search() && self.queues.has_work() {
                    self.idle.wake_one();
                }
                // A watcher that leaves, or a thief with more than it can begin: what waits
                // behind a callback needs another one.
                if self.queues.has_slot_work() || self.queues.has_work() {
                    self.idle.want_watcher();
                }
                if slept {
                    crate::cpu::mark();
                }
                return found;
            }
            // Steps (1) to (3) of idle.rs.
            self.idle.enlist(index);
            if std::mem::take(&mut woken_to_search) {
                self.idle.end_search();
            }
            let watching = self.watch_on(&mut watch, index);
            if self.queues.has_work() {
                searching = !self.idle.delist(index);
                if searching {
                    self.idle.park(index, None);
                }
                woken_to_search = searching;
                continue;
            }
            let timeout = watching.then_some(WATCH_PERIOD);
            let woken = self.idle.park(index, timeout);
            slept = true;
            searching = woken || !self.idle.delist(index);
            if searching && !woken {
                // Woken just after the time-out: take the token too.
                self.idle.park(index, None);
            }
            woken_to_search = searching;
        }
    }

    /// Whether this worker, listed as a sleeper, should watch; it retires after a quiet while.
    fn watch_on(&self, watch: &mut Watch, index: usize) -> bool {
        if self.progress.len() == 1 {
            return false;
        }
        let others_asleep = self.idle.sleeping() >= self.progress.len();
        watch.quiet = if others_asleep { watch.quiet + 1 } else { 0 };
        if watch.quiet <= QUIET_PERIODS {
            return self.idle.become_watcher(index);
        }
        self.idle.stop_watching(index);
        // Step (2) for the slots: whoever filled one before it could see that
        // nobody watches is seen here.
        if self.queues.has_slot_work() {
            watch.quiet = 0;
            return self.idle.become_watcher(index);
        }
        false
    }
}

/// What a watcher saw a period ago.
#[derive(Default)]
struct Watch {
    /// (slot, progress version) of each worker.
    seen: Vec<(Task, u32)>,
    quiet: u32,
}

impl Watch {
    /// A task that sat in a slot for a whole period while its worker stayed in one dispatch.
    fn take_stuck(&mut self, workers: &Workers, index: usize) -> Option<Task> {
        let count = workers.progress.len();
        self.seen.resize(count, (0, 0));
        let mut taken = None;
        for other in (0..count).filter(|&other| other != index) {
            let now = (
                workers.queues.slot(other),
                workers.progress[other].version.load(Ordering::Relaxed),
            );
            let before = std::mem::replace(&mut self.seen[other], now);
            if taken.is_none() && now.0 != 0 && before == now {
                taken = workers.queues.steal_slot(other, now.0);
            }
        }
        taken
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn weights_of_the_workers() {
        let weights = [0, 3, 4, 7, 8, 15, 16, 23, 24, 31, 32, 1000].map(weight_of);
        assert_eq!(weights, [-1, -1, 0, 0, 1, 1, 2, 2, 3, 3, 0, 0]);
    }

    /// A watcher that steals more than it can begin has somebody wake for the rest.
    #[test]
    fn what_a_thief_cannot_begin_finds_another_worker() {
        let workers = Workers::new(3);
        let (sender, found) = channel();
        std::thread::scope(|scope| {
            for index in [1, 2] {
                let (workers, sender) = (&workers, sender.clone());
                // Takes one task and stays in it, as it were.
                scope.spawn(move || sender.send(workers.next(&mut Local::new(index), index)));
            }
            while workers.idle.sleeping() < 2 {
                std::thread::yield_now();
            }
            // Worker 0 stays in a long callback and has more than one task behind it.
            for task in 1..=3 {
                workers.queues.push_back(0, task);
            }
            let two: Vec<_> = (0..2)
                .map(|_| found.recv_timeout(Duration::from_secs(30)))
                .collect();
            workers.stop();
            for task in two {
                assert!(task.expect("a worker sleeps while work waits").is_some());
            }
        });
    }
}
