//! Start and end of a node (spec/01-core.md §1.4, §13).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::builder::{StartError, split_bootstrap};
use crate::current::{self, thread_handle};
use crate::mailbox::Pushed;
use crate::message::Handle;
use crate::node::Node;

/// What C modules expect a worker to have.
const WORKER_STACK: usize = 8 << 20;
/// For threads that only run code of the core.
const SMALL_STACK: usize = 256 << 10;

impl Node {
    /// Starts the node: log service, bootstrap service, then the threads
    /// (spec/01-core.md §1.4). Under the deterministic driver nothing runs until [`sim`](Self::sim) drives it.
    /// Its threads keep a started node alive: it ends by [`abort`](Self::abort), not by being dropped.
    ///
    /// # Errors
    /// What could not be started; the node cannot be used then.
    pub fn start(&self) -> Result<(), StartError> {
        let node = self.shared();
        for (started, component) in self.components.iter().enumerate() {
            if let Err(cause) = component.start(&node) {
                self.stop_everything();
                self.components[..started].iter().for_each(|c| c.stop());
                return Err(StartError::Thread(cause));
            }
        }
        let result = current::enter(self, usize::MAX, thread_handle::MAIN, || {
            self.start_services()
        });
        if result.is_err() {
            self.flush_log();
        }
        let result = result.and_then(|()| self.start_threads(&node));
        if result.is_err() {
            self.stop_everything();
            self.wait();
        }
        result
    }

    fn start_services(&self) -> Result<(), StartError> {
        let service = self.env.text_or("logservice", "logger");
        let parameter = self.env.get("logger");
        let handle = self
            .launch(&service, parameter.as_deref())
            .map_err(|error| StartError::Logger {
                name: service.clone(),
                cause: error.to_string(),
            })?;
        self.table.bind(b"logger", handle);
        let bootstrap = self.env.text_or("bootstrap", "snlua bootstrap");
        let (module, args) = split_bootstrap(&bootstrap);
        let bootstrap_handle = self
            .launch(module, Some(args.as_bytes()))
            .map_err(|error| {
                self.log(0, format!("Bootstrap error : {bootstrap}\n").as_bytes());
                StartError::Bootstrap {
                    command: bootstrap.clone(),
                    cause: error.to_string(),
                }
            })?;
        self.bootstrap.store(bootstrap_handle, Ordering::Release);
        Ok(())
    }

    fn start_threads(&self, node: &Arc<Self>) -> Result<(), StartError> {
        let Some(workers) = &self.workers else {
            return Ok(());
        };
        self.spawn("timer", SMALL_STACK, {
            let node = node.clone();
            move || node.run_timers()
        })?;
        self.spawn("monitor", SMALL_STACK, {
            let node = node.clone();
            move || {
                current::enter(&node, usize::MAX, thread_handle::MONITOR, || {
                    if let Some(workers) = &node.workers {
                        node.monitor.run(&node, workers);
                    }
                });
            }
        })?;
        for index in 0..workers.progress().len() {
            let node = node.clone();
            self.spawn(&format!("worker {index}"), WORKER_STACK, move || {
                if let Some(workers) = &node.workers {
                    workers.run(&node, index);
                }
            })?;
        }
        Ok(())
    }

    fn spawn(
        &self,
        name: &str,
        stack: usize,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), StartError> {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(stack)
            .spawn(body)
            .map_err(|error| {
                self.stop_everything();
                StartError::Thread(error.to_string())
            })?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn run_timers(&self) {
        current::enter(self, usize::MAX, thread_handle::TIMER, || {
            self.timers.run(
                || self.now(),
                |tick| {
                    Duration::from_nanos(
                        self.calendar
                            .moment_of(tick)
                            .saturating_sub(self.clock.monotonic_ns()),
                    )
                },
                |due| self.fire(due),
            );
        });
    }

    /// Waits until all services have ended (command ABORT), then ends the threads.
    pub fn wait(&self) {
        let mut stopped = self.stopped.lock();
        while !*stopped {
            self.stopped_changed.wait(&mut stopped);
        }
        drop(stopped);
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            let _ = thread.join();
        }
        for component in &self.components {
            component.stop();
        }
    }

    /// Waits like [`wait`](Self::wait) for at most `timeout`; false if it passed.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let mut stopped = self.stopped.lock();
        if !*stopped {
            self.stopped_changed.wait_for(&mut stopped, timeout);
        }
        let done = *stopped;
        drop(stopped);
        if done {
            self.wait();
        }
        done
    }

    /// Ends all services, the log service last, after it has written what it was sent; then
    /// the node stops. Returns at once (command ABORT).
    pub fn abort(&self) {
        self.abort_with(0);
    }

    /// Like [`abort`](Self::abort), for a reason that the process should report:
    /// it ends with exit code `code`, unless it is ending already.
    pub fn abort_with(&self, code: u8) {
        if self.stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        self.exit_code.store(code, Ordering::Release);
        let logger = self.table.find(b"logger").unwrap_or(0);
        for handle in self.table.handles() {
            if handle != logger {
                self.retire(handle);
            }
        }
        self.check_end();
    }

    /// The bootstrap service could not do its work: without it the node is of
    /// no use and ends with exit code 1. Nothing if `handle` is another service.
    pub fn bootstrap_failed(&self, handle: Handle) {
        if handle == self.bootstrap.load(Ordering::Acquire) {
            self.abort_with(1);
        }
    }

    /// What the process should exit with when the node has ended.
    pub fn exit_code(&self) -> u8 {
        self.exit_code.load(Ordering::Acquire)
    }

    /// Whether [`abort`](Self::abort) was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Whether all services have ended.
    pub fn is_stopped(&self) -> bool {
        *self.stopped.lock()
    }

    /// A service does not keep the node alive any more.
    pub(crate) fn service_ended(&self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
        self.check_end();
    }

    /// Ends the log service when it is the last, the node when nobody is left.
    ///
    /// SeqCst: the last service to end and the thread that aborts each write one of `live`
    /// and `stopping` and then read the other; one of them must see both.
    fn check_end(&self) {
        let live = self.live.load(Ordering::SeqCst);
        if live == 0 {
            self.stop_everything();
        } else if live == 1
            && self.is_stopping()
            && let Some(logger) = self.table.find(b"logger").and_then(|h| self.table.get(h))
            && let Some(Pushed::Schedule) = logger.mailbox.retire_when_drained(logger.handle())
        {
            self.schedule(logger);
        }
    }

    fn stop_everything(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.timers.stop();
        self.monitor.stop();
        if let Some(workers) = &self.workers {
            workers.stop();
        }
        *self.stopped.lock() = true;
        self.stopped_changed.notify_all();
    }

    /// Runs the log service on this thread until it has nothing to do (failed start).
    fn flush_log(&self) {
        let Some(logger) = self.table.find(b"logger").and_then(|h| self.table.get(h)) else {
            return;
        };
        let progress = crate::sched::step::Progress::default();
        // No thread runs yet, so a service that has messages is held by nobody.
        while logger.mailbox.len() > 0 {
            crate::sched::step::run(self, logger, 0, &progress);
        }
    }
}
