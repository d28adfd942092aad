//! Timers: which message is due at which centisecond.
//!
//! Timers of one tick fire in the order they were added, whatever their delays
//! (spec/01-core.md §8), so a tick is a list and the ticks are an ordered map: adding
//! costs one look-up among the distinct ticks.

use std::collections::BTreeMap;

use crate::message::Handle;
use crate::sync::{Condvar, Mutex};

/// What happens when a timer expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A RESPONSE message with this session.
    Response { handle: Handle, session: i32 },
    /// A notice (not a message) with these bits.
    Notice { handle: Handle, bits: u8 },
}

#[derive(Default)]
struct Inner {
    ticks: BTreeMap<u64, Vec<Due>>,
    /// The tick the timer thread sleeps for (`u64::MAX`: any).
    sleeping_for: u64,
    stopped: bool,
    count: usize,
}

/// All timers of a node.
#[derive(Default)]
pub(crate) struct Timers {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Timers {
    /// Adds a timer that expires when the centisecond clock shows `tick`.
    pub(crate) fn add(&self, tick: u64, due: Due) {
        let mut inner = self.inner.lock();
        inner.ticks.entry(tick).or_default().push(due);
        inner.count += 1;
        if tick < inner.sleeping_for {
            // One wake-up is enough until the thread has looked again.
            inner.sleeping_for = tick;
            self.changed.notify_one();
        }
    }

    /// Timers that have not expired.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().count
    }

    /// The earliest tick anything waits for.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.inner.lock().ticks.keys().next().copied()
    }

    /// Takes out what is due at or before `tick`, earliest first.
    pub(crate) fn expire(&self, tick: u64) -> Vec<Vec<Due>> {
        let mut inner = self.inner.lock();
        let mut out = Vec::new();
        while let Some(entry) = inner.ticks.first_entry() {
            if *entry.key() > tick {
                break;
            }
            let list = entry.remove();
            inner.count -= list.len();
            out.push(list);
        }
        out
    }

    /// Ends [`run`](Self::run).
    pub(crate) fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.stopped = true;
        self.changed.notify_one();
    }

    /// The timer thread: sleeps until something is due, calls `fire`, for ever.
    /// `now` gives the centisecond clock, `wait_for` the time until a tick.
    pub(crate) fn run(
        &self,
        now: impl Fn() -> u64,
        wait_for: impl Fn(u64) -> std::time::Duration,
        mut fire: impl FnMut(Due),
    ) {
        loop {
            for list in self.expire(now()) {
                list.into_iter().for_each(&mut fire);
            }
            let mut inner = self.inner.lock();
            if inner.stopped {
                return;
            }
            match inner.ticks.keys().next().copied() {
                Some(tick) if tick <= now() => {}
                Some(tick) => {
                    inner.sleeping_for = tick;
                    let wait = wait_for(tick);
                    self.changed.wait_for(&mut inner, wait);
                }
                None => {
                    inner.sleeping_for = u64::MAX;
                    self.changed.wait(&mut inner);
                }
            }
            // Awake: additions need not notify until the next look.
            inner.sleeping_for = 0;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn due(session: i32) -> Due {
        Due::Response { handle: 1, session }
    }

    #[test]
    fn equal_ticks_fire_in_the_order_of_addition() {
        let timers = Timers::default();
        timers.add(300, due(1));
        timers.add(200, due(2));
        timers.add(300, due(3));
        timers.add(100, due(4));
        assert_eq!(timers.next_tick(), Some(100));
        assert_eq!(timers.expire(299), [vec![due(4)], vec![due(2)]]);
        assert_eq!(timers.expire(300), [vec![due(1), due(3)]]);
        assert_eq!(timers.len(), 0);
    }
}
