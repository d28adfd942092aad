//! A first-in-first-out list of messages in segments.
//!
//! An empty queue owns no memory. A short one owns a segment of 4 messages;
//! a long one segments of 32, so that a million queued messages cost their own
//! 40 bytes each and no copy when the queue grows.

use std::collections::VecDeque;
use std::mem::MaybeUninit;

use crate::message::Message;

const LARGE: usize = 32;
const SMALL: usize = 4;

struct Segment {
    slots: Box<[MaybeUninit<Message>]>,
    head: usize,
    tail: usize,
}

impl Segment {
    fn new(size: usize) -> Self {
        Self {
            slots: Box::new_uninit_slice(size),
            head: 0,
            tail: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.tail == self.slots.len()
    }

    fn push(&mut self, message: Message) {
        self.slots[self.tail].write(message);
        self.tail += 1;
    }

    fn pop(&mut self) -> Option<Message> {
        if self.head == self.tail {
            return None;
        }
        // SAFETY: slots between head and tail are initialised; moving head past
        // this one hands the value to the caller, once.
        let message = unsafe { self.slots[self.head].assume_init_read() };
        self.head += 1;
        if self.head == self.tail {
            self.head = 0;
            self.tail = 0;
        }
        Some(message)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

/// The queue. Not synchronised: the mailbox's lock guards it.
#[derive(Default)]
pub(crate) struct MessageQueue {
    /// The segment that messages are taken from, and put into while there is no other.
    first: Option<Segment>,
    rest: VecDeque<Segment>,
    length: usize,
}

impl MessageQueue {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn push(&mut self, message: Message) {
        self.length += 1;
        let target = match self.rest.back_mut() {
            Some(last) => last,
            None => self.first.get_or_insert_with(|| Segment::new(SMALL)),
        };
        if !target.is_full() {
            target.push(message);
            return;
        }
        let mut segment = Segment::new(LARGE);
        segment.push(message);
        self.rest.push_back(segment);
    }

    pub(crate) fn pop(&mut self) -> Option<Message> {
        let first = self.first.as_mut()?;
        let message = first.pop()?;
        self.length -= 1;
        if first.head == first.tail
            && let Some(next) = self.rest.pop_front()
        {
            *first = next;
            if self.rest.is_empty() && self.rest.capacity() > 64 {
                self.rest = VecDeque::new();
            }
        }
        Some(message)
    }

    /// Gives the memory of an empty queue back.
    pub(crate) fn shrink(&mut self) {
        if self.length == 0 {
            self.first = None;
            self.rest = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    #[test]
    fn keeps_order_over_segments_and_refills() {
        let mut queue = MessageQueue::default();
        let (mut sent, mut got) = (0, 0);
        for round in [1, 4, 5, 36, 37, 500, 3, 1] {
            for _ in 0..round {
                queue.push(Message::new(0, sent, 0, Payload::from_slice(&[7; 40])));
                sent += 1;
            }
            for _ in 0..round / 2 + 1 {
                if let Some(message) = queue.pop() {
                    assert_eq!(message.session, got);
                    got += 1;
                }
            }
            assert_eq!(queue.len() as i32, sent - got);
        }
        while let Some(message) = queue.pop() {
            assert_eq!(message.session, got);
            got += 1;
        }
        assert_eq!(sent, got);
        queue.shrink();
        assert!(queue.first.is_none());
    }
}
