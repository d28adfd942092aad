//! CPU time of dispatches, without a system call per message.
//!
//! A dispatch is timed by a user-space counter. A dispatch of a millisecond or
//! more may have been preempted: those are corrected against the thread's CPU
//! clock, which is read once per such slice only, and when a worker has slept.

use std::cell::Cell;

/// From here on a span is compared with the thread's CPU clock (nanoseconds).
const SLICE_NS: u64 = 1_000_000;

#[cfg(target_arch = "x86_64")]
mod counter {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    /// Nanoseconds per tick as a 32.32 fixed-point number.
    fn scale() -> u64 {
        static SCALE: OnceLock<u64> = OnceLock::new();
        *SCALE.get_or_init(|| {
            let (t0, c0) = both();
            while t0.elapsed() < Duration::from_micros(500) {
                std::hint::spin_loop();
            }
            let (t1, c1) = both();
            let counted = c1.wrapping_sub(c0).max(1);
            ((t1.duration_since(t0).as_nanos() << 32) / u128::from(counted)) as u64
        })
    }

    /// Both clocks at one moment: of several readings the one that was interrupted least,
    /// for an error here would stay.
    fn both() -> (Instant, u64) {
        let mut best = (u64::MAX, Instant::now(), 0);
        for _ in 0..8 {
            let before = ticks();
            let now = Instant::now();
            let took = ticks().wrapping_sub(before);
            if took < best.0 {
                best = (took, now, before);
            }
        }
        (best.1, best.2)
    }

    pub(super) fn ticks() -> u64 {
        // SAFETY: rdtsc exists on every x86-64 CPU.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    pub(super) fn to_ns(ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(scale())) >> 32) as u64
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod counter {
    use std::sync::OnceLock;
    use std::time::Instant;

    pub(super) fn ticks() -> u64 {
        static BASE: OnceLock<Instant> = OnceLock::new();
        BASE.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }

    pub(super) fn to_ns(ticks: u64) -> u64 {
        ticks
    }
}

thread_local! {
    /// The thread's CPU time at the last moment that was compared with it, before the present span.
    static MARK: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The counter now; only differences mean something, by [`since`].
pub(crate) fn now() -> u64 {
    counter::ticks()
}

/// Nanoseconds of real time since `began` (of [`now`]), roughly.
pub(crate) fn wall_since(began: u64) -> u64 {
    // The counters of two processors may be a little apart: never less than 0.
    counter::to_ns(counter::ticks().saturating_sub(began))
}

/// CPU nanoseconds this thread has used.
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Notes the thread's CPU time: spans from here on cannot have used more than what
/// is added to it. A system call, for moments that are slow anyway (the thread has slept).
pub(crate) fn mark() {
    MARK.set(Some(thread_cpu_ns()));
}

/// CPU nanoseconds since `began` (of [`now`]) on this thread, at the end of a span.
pub(crate) fn since(began: u64) -> u64 {
    let (used, cpu) = measure(began);
    if cpu.is_some() {
        MARK.set(cpu);
    }
    used
}

/// The same in the middle of a span, which can be read any number of times.
pub(crate) fn so_far(began: u64) -> u64 {
    measure(began).0
}

/// CPU nanoseconds since `began`, and the thread's CPU time if it was looked at.
fn measure(began: u64) -> (u64, Option<u64>) {
    let wall = wall_since(began);
    if wall < SLICE_NS {
        return (wall, None);
    }
    let cpu = thread_cpu_ns();
    // The mark is from before the span; what ran between them was counted there already.
    let most = MARK.get().map_or(wall, |mark| cpu.saturating_sub(mark));
    (wall.min(most), Some(cpu))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_span_can_be_read_while_it_runs() {
        let began = now();
        let mut last = 0;
        while last < 3 * SLICE_NS {
            let used = so_far(began);
            assert!(used >= last, "{used} after {last}");
            last = used;
        }
        assert!(since(began) >= last);
    }

    #[test]
    fn time_away_from_the_processor_is_not_counted() {
        let before = thread_cpu_ns();
        mark();
        let began = now();
        // Nobody sends: only time passes.
        let (_keep, silent) = std::sync::mpsc::channel::<()>();
        let _ = silent.recv_timeout(std::time::Duration::from_millis(20));
        let seen = so_far(began);
        let used = since(began);
        let most = thread_cpu_ns() - before;
        assert!(seen <= used && used <= most, "{seen}, {used} of {most}");
    }

    #[test]
    fn a_span_that_began_in_the_future_of_this_processor_is_empty() {
        assert_eq!(wall_since(now() + 1_000_000_000_000), 0);
        assert_eq!(since(now() + 1_000_000_000_000), 0);
    }
}
