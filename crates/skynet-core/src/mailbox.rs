//! A service's mailbox: many producers, one consumer, and the state that
//! decides whether the service is in the run queue.
//!
//! # States
//! `vacant` (no service), `idle` (nothing to do, not in a run queue),
//! `scheduled` (in exactly one run queue, or being run by exactly one worker).
//! All of it is guarded by one short lock per mailbox:
//!
//! | who | transition | must then |
//! |---|---|---|
//! | `occupy` | vacant -> scheduled | initialise the service, then `settle` |
//! | a sender | idle -> scheduled with the first message | put the service into a run queue |
//! | the worker, queue empty | scheduled -> idle | forget the service |
//! | `retire` | any -> `dying`; idle -> scheduled | put it into a run queue if it was idle |
//! | the worker, `dying` | scheduled -> vacant | answer what is queued, release the service |
//!
//! Whoever sees the transition to `scheduled` is the only one to enqueue the
//! service, so its callback never runs twice at a time. The lock orders the
//! push before the pop; nothing else does.

use crate::message::{Handle, Message};
use crate::queue::MessageQueue;
use crate::sync::Mutex;

/// First mailbox length that is reported (spec/01-core.md §5.2).
pub(crate) const OVERLOAD: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Vacant,
    Idle,
    Scheduled,
}

struct Inner {
    /// The service that lives here; messages for another handle are refused.
    handle: Handle,
    state: State,
    /// Retired: refuses messages; released by the worker that runs it next.
    dying: bool,
    /// Read what is queued first, then die (the log service at shutdown).
    drain: bool,
    /// Wake-ups that are not messages; see [`Mailbox::notify`].
    notices: u8,
    overload_threshold: usize,
    queue: MessageQueue,
}

/// The mailbox of one service slot.
pub(crate) struct Mailbox(Mutex<Inner>);

/// What a worker gets out of a mailbox.
pub(crate) enum Taken {
    /// A message; `remaining` are still queued, `overload` is a length to report.
    Message {
        message: Message,
        remaining: usize,
        overload: Option<usize>,
    },
    /// Only notices: their bits.
    Notices(u8),
    /// Nothing left: the mailbox is idle now and the worker must let go of it.
    Idle,
    /// The service is to be released by this worker.
    Dying,
}

/// What a push did.
#[derive(Debug)]
pub(crate) enum Pushed {
    /// Somebody else has scheduled the service.
    Queued,
    /// The caller must put the service into a run queue.
    Schedule,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Inner {
            handle: 0,
            state: State::Vacant,
            dying: false,
            drain: false,
            notices: 0,
            overload_threshold: OVERLOAD,
            queue: MessageQueue::default(),
        }))
    }

    /// Moves a service in. It counts as scheduled (by the caller) until
    /// [`take`](Self::take) or [`settle`](Self::settle) says otherwise, so messages that
    /// arrive while it is initialised wait.
    pub(crate) fn occupy(&self, handle: Handle) {
        let mut inner = self.0.lock();
        debug_assert_eq!(inner.state, State::Vacant);
        inner.handle = handle;
        inner.state = State::Scheduled;
        inner.dying = false;
        inner.drain = false;
        inner.notices = 0;
        inner.overload_threshold = OVERLOAD;
    }

    /// Delivers a message to `handle`, or hands it back if that service is not here (any more).
    pub(crate) fn push(&self, handle: Handle, message: Message) -> Result<Pushed, Message> {
        let mut inner = self.0.lock();
        if inner.handle != handle || inner.dying {
            return Err(message);
        }
        inner.queue.push(message);
        Ok(inner.schedule())
    }

    /// Wakes the service without a message; `None` if it is not here any more.
    pub(crate) fn notify(&self, handle: Handle, bits: u8) -> Option<Pushed> {
        let mut inner = self.0.lock();
        if inner.handle != handle || inner.dying {
            return None;
        }
        inner.notices |= bits;
        Some(inner.schedule())
    }

    /// The next thing for the worker that holds the service. `more` says whether it may
    /// go on when the mailbox is dying (the rest of a batch is still delivered).
    pub(crate) fn take(&self, more: bool) -> Taken {
        let mut inner = self.0.lock();
        debug_assert_eq!(inner.state, State::Scheduled);
        if inner.dying && !more {
            return Taken::Dying;
        }
        if let Some(message) = inner.queue.pop() {
            let remaining = inner.queue.len();
            let mut overload = None;
            if remaining > inner.overload_threshold {
                while remaining > inner.overload_threshold {
                    inner.overload_threshold *= 2;
                }
                overload = Some(remaining);
            }
            return Taken::Message {
                message,
                remaining,
                overload,
            };
        }
        inner.overload_threshold = OVERLOAD;
        if inner.dying || inner.drain {
            inner.dying = true;
            return Taken::Dying;
        }
        if inner.notices != 0 {
            return Taken::Notices(std::mem::take(&mut inner.notices));
        }
        inner.state = State::Idle;
        Taken::Idle
    }

    /// After a batch: true if the worker must put the service back into a run
    /// queue; else it is idle and the worker must let go of it.
    pub(crate) fn settle(&self) -> bool {
        let mut inner = self.0.lock();
        debug_assert_eq!(inner.state, State::Scheduled);
        if inner.queue.len() > 0 || inner.dying || inner.drain || inner.notices != 0 {
            return true;
        }
        inner.overload_threshold = OVERLOAD;
        inner.state = State::Idle;
        false
    }

    /// Marks the service as dying. `None` if it is not here or dying already.
    pub(crate) fn retire(&self, handle: Handle) -> Option<Pushed> {
        let mut inner = self.0.lock();
        if inner.handle != handle || inner.dying {
            return None;
        }
        inner.dying = true;
        Some(inner.schedule())
    }

    /// Lets the service read what it has, and die then.
    pub(crate) fn retire_when_drained(&self, handle: Handle) -> Option<Pushed> {
        let mut inner = self.0.lock();
        if inner.handle != handle || inner.dying || inner.drain {
            return None;
        }
        inner.drain = true;
        Some(inner.schedule())
    }

    /// For the worker that releases the service: what nobody will read. The
    /// handle stays, so that no new message gets in.
    pub(crate) fn take_rest(&self) -> MessageQueue {
        std::mem::take(&mut self.0.lock().queue)
    }

    /// The slot is free again.
    pub(crate) fn vacate(&self) {
        let mut inner = self.0.lock();
        debug_assert!(inner.dying && inner.queue.len() == 0);
        inner.handle = 0;
        inner.state = State::Vacant;
        inner.queue.shrink();
    }

    /// Queued messages.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().queue.len()
    }

    /// Gives the memory of an empty queue back.
    pub(crate) fn shrink(&self) {
        self.0.lock().queue.shrink();
    }
}

impl Inner {
    fn schedule(&mut self) -> Pushed {
        if self.state == State::Idle {
            self.state = State::Scheduled;
            Pushed::Schedule
        } else {
            Pushed::Queued
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    fn message(session: i32) -> Message {
        Message::new(1, session, 0, Payload::null())
    }

    #[test]
    fn a_foreign_handle_gets_its_message_back() {
        let mailbox = Mailbox::new();
        assert!(mailbox.push(5, message(1)).is_err());
        mailbox.occupy(5);
        assert!(mailbox.push(6, message(1)).is_err());
        assert!(matches!(mailbox.push(5, message(1)), Ok(Pushed::Queued)));
        assert!(mailbox.settle());
        assert!(matches!(mailbox.take(true), Taken::Message { .. }));
        assert!(matches!(mailbox.take(true), Taken::Idle));
        assert!(matches!(mailbox.push(5, message(1)), Ok(Pushed::Schedule)));
        assert!(matches!(mailbox.push(5, message(1)), Ok(Pushed::Queued)));
    }

    #[test]
    fn overload_is_reported_at_each_doubling_and_again_after_a_drain() {
        let mailbox = Mailbox::new();
        mailbox.occupy(5);
        let mut seen = Vec::new();
        for round in [5001, 3001] {
            for i in 0..round {
                mailbox.push(5, message(i)).unwrap();
            }
            while let Taken::Message { overload, .. } = mailbox.take(true) {
                seen.extend(overload);
            }
            mailbox.push(5, message(0)).unwrap();
        }
        assert_eq!(seen, [5000, 3001]);
    }

    #[test]
    fn a_dying_service_is_scheduled_once_to_be_released() {
        let mailbox = Mailbox::new();
        mailbox.occupy(5);
        assert!(!mailbox.settle());
        assert!(matches!(mailbox.retire(5), Some(Pushed::Schedule)));
        assert!(mailbox.retire(5).is_none());
        assert!(mailbox.push(5, message(1)).is_err());
        assert!(matches!(mailbox.take(false), Taken::Dying));
        mailbox.vacate();
        mailbox.occupy(6);
        assert!(matches!(mailbox.push(6, message(1)), Ok(Pushed::Queued)));
    }
}
