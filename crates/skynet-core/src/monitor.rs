//! The endless-loop monitor: notices a worker that stays in one message
//! (spec/01-core.md §9).

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::message::Handle;
use crate::node::Node;
use crate::sched::worker::Workers;
use crate::sync::{Condvar, Mutex};

/// Time between two looks.
pub(crate) const PERIOD: Duration = Duration::from_secs(5);

/// A worker that has not finished a message for a whole period.
#[derive(Debug, Clone, Copy)]
pub struct Endless {
    /// The service it runs.
    pub handle: Handle,
    /// Who sent the message.
    pub source: Handle,
    /// The message's type.
    pub kind: u8,
    /// The message's session.
    pub session: i32,
    /// The worker's `pthread_t`.
    pub thread: u64,
}

/// Ends the monitor thread.
#[derive(Default)]
pub(crate) struct Monitor {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Monitor {
    pub(crate) fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_one();
    }

    /// Waits one period; false at the end.
    fn wait(&self) -> bool {
        let mut stopped = self.stopped.lock();
        if !*stopped {
            self.changed.wait_for(&mut stopped, PERIOD);
        }
        !*stopped
    }

    /// The monitor thread.
    pub(crate) fn run(&self, node: &Node, workers: &Workers) {
        let mut seen = vec![0u32; workers.progress().len()];
        loop {
            check(node, workers, &mut seen);
            if !self.wait() {
                return;
            }
        }
    }
}

/// One look at all workers; `seen` holds the versions of the last one.
fn check(node: &Node, workers: &Workers, seen: &mut [u32]) {
    for (index, progress) in workers.progress().iter().enumerate() {
        let version = progress.version.load(Ordering::Relaxed);
        if std::mem::replace(&mut seen[index], version) != version {
            continue;
        }
        let Some(dispatch) = progress.still_in(version) else {
            continue;
        };
        let (source, handle) = (dispatch.source, dispatch.destination);
        if let Some(context) = node.context(handle) {
            context.mark_endless();
        }
        node.log(
            0,
            format!(
                "error: A message from [ :{source:08x} ] to [ :{handle:08x} ] maybe in an endless loop (version = {version})"
            )
            .as_bytes(),
        );
        if let Some(thread) = workers.thread(index) {
            node.report_endless(&Endless {
                handle,
                source,
                kind: dispatch.kind,
                session: dispatch.session,
                thread,
            });
        }
    }
}
