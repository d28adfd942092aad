//! Time as the node sees it. Every reading goes through a [`Clock`], so that a
//! node can run under virtual time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds in a centisecond, the unit of timers.
pub const NS_PER_CS: u64 = 10_000_000;

/// A source of time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since an arbitrary point, never going back.
    fn monotonic_ns(&self) -> u64;
    /// Nanoseconds since 1970 when the node started.
    fn started_at_ns(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    base: Instant,
    started: u64,
}

impl SystemClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self {
            base: Instant::now(),
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_nanos() as u64),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic_ns(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }

    fn started_at_ns(&self) -> u64 {
        self.started
    }
}

/// A clock that only moves when told to.
#[derive(Debug)]
pub struct VirtualClock {
    now: AtomicU64,
    started: u64,
}

impl VirtualClock {
    /// A clock whose node starts at `started` nanoseconds after 1970.
    pub fn new(started: u64) -> Self {
        Self {
            now: AtomicU64::new(0),
            started,
        }
    }

    /// Moves forward to `ns` (monotonic); never back.
    pub fn advance_to(&self, ns: u64) {
        self.now.fetch_max(ns, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn monotonic_ns(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn started_at_ns(&self) -> u64 {
        self.started
    }
}

/// A node's calendar: start time and centiseconds (spec/01-core.md §8).
pub(crate) struct Calendar {
    /// Seconds since 1970 at start.
    pub(crate) start_seconds: u32,
    /// Nanoseconds into that second at start.
    fraction_ns: u64,
}

impl Calendar {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let started = clock.started_at_ns();
        Self {
            start_seconds: (started / 1_000_000_000) as u32,
            // The centisecond fraction counts from the moment the clock was read.
            fraction_ns: started % 1_000_000_000,
        }
    }

    /// Centiseconds since the start second: starts at 0..99.
    pub(crate) fn now(&self, monotonic_ns: u64) -> u64 {
        (monotonic_ns + self.fraction_ns) / NS_PER_CS
    }

    /// The monotonic moment at which `now` becomes `cs`.
    pub(crate) fn moment_of(&self, cs: u64) -> u64 {
        (cs * NS_PER_CS).saturating_sub(self.fraction_ns)
    }
}
