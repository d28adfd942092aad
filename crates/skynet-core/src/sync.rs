//! The one door to locks, atomics and threads of the concurrent structures.
//!
//! Under `--cfg loom` it leads to loom's versions, so that the models in
//! `models.rs` explore the very code that runs in production.

#[cfg(not(loom))]
pub(crate) use parking_lot::{Condvar, Mutex};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

#[cfg(loom)]
pub(crate) use loom::sync::atomic;

/// Loom takes SeqCst accesses for acquire-release ones and has their total
/// order only at fences, so there a fence stands in for it, between a SeqCst store and a SeqCst load.
#[inline]
pub(crate) fn store_load_fence() {
    #[cfg(loom)]
    loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
}

#[cfg(loom)]
mod loom_lock {
    use std::time::Duration;

    /// A loom mutex with the face of `parking_lot::Mutex`.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("loom mutexes are not poisoned")
        }
    }

    /// A loom condition variable with the face of `parking_lot::Condvar`.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn wait<T>(&self, guard: &mut loom::sync::MutexGuard<'_, T>) {
            // SAFETY: the guard is moved out and a guard of the same mutex is
            // moved back in before anybody can see the hole; `wait` of loom
            // aborts the model on failure, so no unwinding happens between.
            unsafe {
                let taken = std::ptr::read(guard);
                let back = self.0.wait(taken).expect("loom mutexes are not poisoned");
                std::ptr::write(guard, back);
            }
        }

        /// Loom has no time: a timed wait is a plain one that may be ended by a notify only.
        pub(crate) fn wait_for<T>(
            &self,
            guard: &mut loom::sync::MutexGuard<'_, T>,
            _timeout: Duration,
        ) {
            self.wait(guard);
        }
    }
}
#[cfg(loom)]
pub(crate) use loom_lock::{Condvar, Mutex};
