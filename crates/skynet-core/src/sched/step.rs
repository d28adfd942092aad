//! The dispatch step: one turn of one service (spec/01-core.md §5.3).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::context::Context;
use crate::current;
use crate::mailbox::Taken;
use crate::node::Node;

/// What a worker is working on, for the monitor and the watcher. The worker
/// writes, others read. Written twice per message, so it has its cache lines for itself.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Progress {
    /// Changes at the begin and at the end of every dispatch.
    pub(crate) version: AtomicU32,
    /// Source of the message being dispatched.
    source: AtomicU32,
    /// The service that runs; 0 = none.
    destination: AtomicU32,
    /// Type (low 8 bits) and session (high 32 bits) of the message.
    what: AtomicU64,
}

/// A dispatch as the monitor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) source: u32,
    pub(crate) destination: u32,
    pub(crate) kind: u8,
    pub(crate) session: i32,
}

impl Progress {
    fn begin(&self, source: u32, destination: u32, kind: u8, session: i32) {
        // The version first: who sees any of the rest (Release) sees it changed.
        self.advance();
        self.source.store(source, Ordering::Release);
        self.destination.store(destination, Ordering::Release);
        self.what.store(
            u64::from(kind) | u64::from(session as u32) << 32,
            Ordering::Release,
        );
    }

    /// The dispatch that has gone on since `version` was read, if it is still the one.
    pub(crate) fn still_in(&self, version: u32) -> Option<Seen> {
        let destination = self.destination.load(Ordering::Acquire);
        let source = self.source.load(Ordering::Acquire);
        let what = self.what.load(Ordering::Acquire);
        let seen = Seen {
            source,
            destination,
            kind: what as u8,
            session: (what >> 32) as u32 as i32,
        };
        (destination != 0 && self.version.load(Ordering::Relaxed) == version).then_some(seen)
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
                if node.is_stopping() {
                    // The log service, which has read all it had, is still listed.
                    node.retire(handle);
                }
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::{Driver, InitError, Message, Payload, SendError, Service, ptype};

    /// Notes the sessions of its messages and ends itself at session 3; its sender notes errors.
    struct Noter(Arc<Mutex<Vec<(u8, i32)>>>);

    impl Service for Noter {
        fn init(&mut self, _: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
            Ok(())
        }

        fn dispatch(&mut self, context: &Context, message: Message) {
            self.0.lock().push((message.kind(), message.session));
            if message.session == 3 && message.kind() == ptype::LUA {
                context.exit();
                let to_itself = context.send(context.handle(), ptype::LUA, 0, Payload::null());
                assert_eq!(to_itself, Err(SendError::Dead));
            }
        }
    }

    #[test]
    fn the_rest_of_a_batch_reaches_a_service_that_has_ended() {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let made = notes.clone();
        let node = Node::builder()
            .env("bootstrap", "noter")
            .driver(Driver::Sim { seed: 1 })
            .module("noter", move || {
                Ok(Box::new(Noter(made.clone())) as Box<dyn Service>)
            })
            .quiet_launch()
            .build()
            .unwrap();
        node.start().unwrap();
        let asker = node.find_name(b"logger").unwrap() + 1;
        let handle = node.launch("noter", None).unwrap();
        for session in 1..=10 {
            node.send(asker, handle, ptype::LUA, session, Payload::null())
                .unwrap();
        }
        // Weight 0: all that is left after the first, the first included.
        let progress = Progress::default();
        let context = node.context(handle).unwrap();
        assert_eq!(run(&node, context, 0, &progress), After::Requeue);
        let expected: Vec<_> = (1..=9).map(|session| (ptype::LUA, session)).collect();
        assert_eq!(*notes.lock(), expected);
        assert!(node.context(handle).is_none());
        // The next turn releases it; the message that nobody read is answered.
        assert_eq!(run(&node, context, 0, &progress), After::Done);
        assert_eq!(notes.lock().len(), 9);
        let context = node.context(asker).unwrap();
        assert_eq!(run(&node, context, 0, &progress), After::Done);
        assert_eq!(notes.lock().last(), Some(&(ptype::ERROR, 10)));
    }

    #[test]
    fn the_monitor_sees_a_dispatch_only_while_it_lasts() {
        let progress = Progress::default();
        assert_eq!(progress.still_in(0), None, "idle");
        progress.begin(7, 8, 10, -5);
        let version = progress.version.load(Ordering::Relaxed);
        let seen = Seen {
            source: 7,
            destination: 8,
            kind: 10,
            session: -5,
        };
        assert_eq!(progress.still_in(version), Some(seen));
        assert_eq!(progress.still_in(version - 1), None, "it was another one");
        progress.end();
        assert_eq!(
            progress.still_in(progress.version.load(Ordering::Relaxed)),
            None
        );
    }

    #[test]
    fn weights_give_the_batch_sizes_of_the_spec() {
        assert_eq!(batch(-1, 1000), 1);
        assert_eq!(batch(0, 0), 1);
        assert_eq!(batch(0, 9), 9);
        assert_eq!(batch(1, 9), 4);
        assert_eq!(batch(3, 9), 1);
    }
}
