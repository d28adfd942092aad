//! Parking and waking of workers.
//!
//! # Protocol
//! A worker that finds nothing: (1) lists itself as a sleeper (SeqCst), (2) looks
//! at all queues once more, (3) parks. A pusher: (a) puts the task in (SeqCst
//! store of the queue's length, or SeqCst swap of the slot), (b) looks whether
//! there are sleepers (SeqCst load), and wakes one.
//!
//! The lost wake-up would be: the pusher sees no sleeper, the worker sees no
//! task, and the task stays. Both (1)-(2) and (a)-(b) are store-then-load on
//! SeqCst locations, so in their single total order either (1) precedes (b) or (a) precedes (2).
//!
//! A woken worker *searches* until it found a task or gives up. While one
//! searches, pushers wake no other one: the searcher, when it finds a task,
//! looks whether there is more and then wakes the next; when it gives up, it
//! goes through (1)-(3), after it stopped counting as a searcher.
//!
//! # The watcher
//! Waking an idle core costs more than several whole messages, so a worker that
//! wakes a service or two keeps them in its LIFO slot and its FIFO and wakes
//! nobody. For the case that its callback then runs long, one idle worker, the
//! *watcher*, parks with a time-out as long as any worker is busy, and takes
//! what is in a FIFO, and what sat in a slot for a whole period without its
//! worker starting another dispatch. A
//! pusher that sees no watcher wakes one. The watcher retires to ordinary sleep
//! after it saw all other workers asleep for some periods; then an idle node
//! uses no CPU.

use std::time::Duration;

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, store_load_fence};

/// How long something may sit in a LIFO slot behind a long callback.
pub(crate) const WATCH_PERIOD: Duration = Duration::from_micros(1000);
/// After how many periods with all others asleep the watcher retires.
pub(crate) const QUIET_PERIODS: u32 = if cfg!(loom) { 0 } else { 10 };

const NOBODY: usize = usize::MAX;

#[derive(Default)]
struct Parker {
    token: Mutex<bool>,
    arrived: Condvar,
}

impl Parker {
    fn unpark(&self) {
        *self.token.lock() = true;
        self.arrived.notify_one();
    }

    /// Waits for a token; true if one came in time.
    fn park(&self, timeout: Option<Duration>) -> bool {
        let mut token = self.token.lock();
        if !*token {
            match timeout {
                Some(timeout) => {
                    self.arrived.wait_for(&mut token, timeout);
                }
                None => {
                    while !*token {
                        self.arrived.wait(&mut token);
                    }
                }
            }
        }
        std::mem::take(&mut *token)
    }
}

/// Which workers sleep.
pub(crate) struct Idle {
    parkers: Box<[Parker]>,
    sleepers: Mutex<Vec<usize>>,
    /// Length of `sleepers`, changed under its lock.
    sleeping: AtomicUsize,
    /// Woken workers that have not found a task yet.
    searching: AtomicUsize,
    /// The worker that watches, or `NOBODY`.
    watcher: AtomicUsize,
}

impl Idle {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            parkers: (0..workers).map(|_| Parker::default()).collect(),
            sleepers: Mutex::new(Vec::with_capacity(workers)),
            sleeping: AtomicUsize::new(0),
            searching: AtomicUsize::new(0),
            watcher: AtomicUsize::new(NOBODY),
        }
    }

    /// Step (b): wakes one sleeper, if there is one and nobody searches already.
    pub(crate) fn wake_one(&self) {
        store_load_fence();
        if self.sleeping.load(Ordering::SeqCst) == 0 || self.searching.load(Ordering::SeqCst) > 0 {
            return;
        }
        let mut sleepers = self.sleepers.lock();
        let Some(worker) = sleepers.pop() else {
            return;
        };
        self.sleeping.store(sleepers.len(), Ordering::SeqCst);
        // Counted for the sleeper, which may not run for a while yet.
        self.searching.fetch_add(1, Ordering::SeqCst);
        drop(sleepers);
        self.parkers[worker].unpark();
    }

    /// Step (b) for a task in a LIFO slot: wakes a watcher if there is none.
    pub(crate) fn want_watcher(&self) {
        store_load_fence();
        if self.watcher.load(Ordering::SeqCst) == NOBODY {
            self.wake_one();
        }
    }

    /// Wakes everybody (shutdown).
    pub(crate) fn wake_all(&self) {
        self.parkers.iter().for_each(Parker::unpark);
    }

    /// The calling worker, woken by somebody, stops searching; true if it was
    /// the last one, which must see to further work.
    pub(crate) fn end_search(&self) -> bool {
        let last = self.searching.fetch_sub(1, Ordering::SeqCst) == 1;
        store_load_fence();
        last
    }

    /// Step (1).
    pub(crate) fn enlist(&self, worker: usize) {
        let mut sleepers = self.sleepers.lock();
        sleepers.push(worker);
        self.sleeping.store(sleepers.len(), Ordering::SeqCst);
        drop(sleepers);
        store_load_fence();
    }

    /// After step (2) found work: takes the worker off the list. False if somebody has
    /// woken it meanwhile: then it counts as searching and a token waits for it.
    pub(crate) fn delist(&self, worker: usize) -> bool {
        let mut sleepers = self.sleepers.lock();
        let Some(at) = sleepers.iter().position(|&w| w == worker) else {
            return false;
        };
        sleepers.swap_remove(at);
        self.sleeping.store(sleepers.len(), Ordering::SeqCst);
        true
    }

    /// Step (3): waits until woken or `timeout`; true if woken.
    pub(crate) fn park(&self, worker: usize, timeout: Option<Duration>) -> bool {
        self.parkers[worker].park(timeout)
    }

    /// How many workers sleep (the watcher among them while it is listed).
    pub(crate) fn sleeping(&self) -> usize {
        self.sleeping.load(Ordering::SeqCst)
    }

    /// Makes `worker` the watcher if there is none; true if it is.
    pub(crate) fn become_watcher(&self, worker: usize) -> bool {
        let seen =
            self.watcher
                .compare_exchange(NOBODY, worker, Ordering::SeqCst, Ordering::SeqCst);
        seen.is_ok() || seen == Err(worker)
    }

    /// `worker` stops being the watcher.
    pub(crate) fn stop_watching(&self, worker: usize) {
        let _ = self
            .watcher
            .compare_exchange(worker, NOBODY, Ordering::SeqCst, Ordering::SeqCst);
        store_load_fence();
    }
}
