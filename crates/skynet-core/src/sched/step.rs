//! The dispatch step: one turn of one service (spec/01-core.md §5.3).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::context::Context;
use crate::current;
use crate::mailbox::Taken;
use crate::node::Node;

/// What a worker is working on, for the monitor and the watcher. The worker
/// writes, others read; a torn reading only costs the monitor a period.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Changes at the begin and at the end of every dispatch.
    pub(crate) version: AtomicU32,
    /// Source of the message being dispatched.
    pub(crate) source: AtomicU32,
    /// The service that runs; 0 = none.
    pub(crate) destination: AtomicU32,
    /// Type (low 8 bits) and session (high 32 bits) of the message.
    pub(crate) what: AtomicU64,
}

impl Progress {
    fn begin(&self, source: u32, destination: u32, kind: u8, session: i32) {
        self.source.store(source, Ordering::Relaxed);
        self.destination.store(destination, Ordering::Relaxed);
        self.what.store(
            u64::from(kind) | u64::from(session as u32) << 32,
            Ordering::Relaxed,
        );
        self.advance();
    }

    fn end(&self) {
        self.destination.store(0, Ordering::Relaxed);
        self.advance();
    }

    fn advance(&self) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
    }
}

/// What is left to do for the caller of [`run`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// Put the service back into a run queue.
    Requeue,
    /// The service is idle or gone; do not touch it.
    Done,
}

/// How many messages one turn may take, the first included, when `remaining` are
/// left after it (spec/01-core.md §2.1).
fn batch(weight: i32, remaining: usize) -> usize {
    if weight < 0 {
        1
    } else {
        (remaining >> weight).max(1)
    }
}

/// One turn of the service of `context`, which the caller holds.
pub(crate) fn run(node: &Node, context: &Context, weight: i32, progress: &Progress) -> After {
    let handle = context.handle();
    current::set_handle(handle);
    let mut left: Option<usize> = None;
    let after = loop {
        match context.mailbox.take(left.is_some()) {
            Taken::Message {
                message,
                remaining,
                overload,
            } => {
                let budget = left.get_or_insert_with(|| batch(weight, remaining));
                if let Some(length) = overload {
                    context.log(format!(
                        "error: May overload, message queue length = {length}"
                    ));
                }
                progress.begin(message.source, handle, message.kind(), message.session);
                context.dispatch(message);
                progress.end();
                *budget -= 1;
                if *budget == 0 {
                    break settle(context);
                }
            }
            Taken::Notices(bits) => {
                progress.begin(0, handle, 0, 0);
                context.deliver_notices(bits);
                progress.end();
                break settle(context);
            }
            Taken::Idle => break After::Done,
            Taken::Dying => {
                progress.begin(0, handle, 0, 0);
                let reserved = context.is_reserved();
                context.release();
                progress.end();
                node.recycle(context, reserved);
                break After::Done;
            }
        }
    };
    if current::take_dispatch_end() {
        node.dispatch_end();
    }
    after
}

fn settle(context: &Context) -> After {
    if context.mailbox.settle() {
        After::Requeue
    } else {
        After::Done
    }
}

#[cfg(test)]
mod tests {
    use super::batch;

    #[test]
    fn weights_give_the_batch_sizes_of_the_spec() {
        assert_eq!(batch(-1, 1000), 1);
        assert_eq!(batch(0, 0), 1);
        assert_eq!(batch(0, 9), 9);
        assert_eq!(batch(1, 9), 4);
        assert_eq!(batch(3, 9), 1);
    }
}
