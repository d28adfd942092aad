//! What waits to be written to one socket, in the order it will go out.
//!
//! Three lists, each drained before the next (spec/03-network.md §1.6):
//! - `direct`: collected while the socket could be written to; what the kernel
//!   did not accept of it stays here and is not counted for warnings;
//! - `high`, `low`: what came while the socket was blocked.
//!
//! Priority acts between whole blocks: a low block that went out in part moves
//! to the head of `high`.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use skynet_core::Payload;

/// Up to this size a block is copied into the collecting buffer.
const COPY_LIMIT: usize = 2048;

/// A collecting buffer takes no more than this; reached, it is written at once.
pub(crate) const COLLECT_LIMIT: usize = 16 * 1024;

/// Slices given to one system call.
const MAX_SLICES: usize = 64;

/// Bytes to be sent.
#[derive(Debug)]
pub(crate) enum Data<'a> {
    Slice(&'a [u8]),
    Payload(Payload),
}

impl Data<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Slice(slice) => slice,
            Self::Payload(payload) => payload.as_slice(),
        }
    }
}

#[derive(Debug)]
enum Bytes {
    Copied(Vec<u8>),
    Moved(Payload),
}

#[derive(Debug)]
struct Block {
    bytes: Bytes,
    /// How many have been written.
    done: usize,
}

impl Block {
    fn rest(&self) -> &[u8] {
        let all = match &self.bytes {
            Bytes::Copied(vec) => &vec[..],
            Bytes::Moved(payload) => payload.as_slice(),
        };
        &all[self.done..]
    }
}

/// The lists of one socket.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    direct: VecDeque<Block>,
    high: VecDeque<Block>,
    low: VecDeque<Block>,
    /// Bytes in all lists.
    bytes: usize,
    /// A buffer to collect in, kept from the last block that went out.
    spare: Vec<u8>,
}

/// How a round of writing ended.
#[derive(Debug)]
pub(crate) enum Written {
    /// Everything went out.
    All,
    /// The socket takes no more now.
    Blocked,
    /// The budget is used up.
    Budget,
    /// The socket failed.
    Failed(io::Error),
}

impl Outbox {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Adds to what is written as soon as possible.
    pub(crate) fn push_direct(&mut self, data: Data<'_>) {
        self.bytes += data.as_slice().len();
        append(&mut self.direct, data, &mut self.spare);
    }

    /// Adds what came while the socket was blocked. A low block before which no
    /// list holds anything is as good as a high one.
    pub(crate) fn push_queued(&mut self, data: Data<'_>, low: bool) {
        self.bytes += data.as_slice().len();
        if !low {
            append(&mut self.high, data, &mut self.spare);
            return;
        }
        let bytes = match data {
            Data::Slice(slice) => Bytes::Copied(slice.to_vec()),
            Data::Payload(payload) => Bytes::Moved(payload),
        };
        let list = if self.high.is_empty() && self.low.is_empty() {
            &mut self.high
        } else {
            // Never joined with its neighbour: high blocks may overtake between them.
            &mut self.low
        };
        list.push_back(Block { bytes, done: 0 });
    }

    /// Adds what was queued in `later` while this was being written.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.bytes += later.bytes;
        self.direct.append(&mut later.direct);
        self.high.append(&mut later.high);
        self.low.append(&mut later.low);
    }

    /// Writes with `write` until all is out, the socket blocks, or `budget` bytes
    /// went out. Returns how it ended, the bytes written and how many of them
    /// came from `high` and `low`.
    pub(crate) fn write_to(
        &mut self,
        budget: usize,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> (Written, usize, usize) {
        let (mut total, mut counted) = (0, 0);
        while !self.is_empty() {
            if total >= budget {
                return (Written::Budget, total, counted);
            }
            match self.write_once(&mut write) {
                Ok(0) => {
                    return (
                        Written::Failed(io::ErrorKind::WriteZero.into()),
                        total,
                        counted,
                    );
                }
                Ok(n) => {
                    total += n;
                    counted += self.advance(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return (Written::Blocked, total, counted);
                }
                Err(e) => return (Written::Failed(e), total, counted),
            }
        }
        (Written::All, total, counted)
    }

    fn write_once(
        &self,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut blocks = self.direct.iter().chain(&self.high).chain(&self.low);
        let first = blocks.next().map_or(&[][..], Block::rest);
        let Some(second) = blocks.next() else {
            return write(&[IoSlice::new(first)]);
        };
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        slices[0] = IoSlice::new(first);
        slices[1] = IoSlice::new(second.rest());
        let mut count = 2;
        for (slice, block) in slices[2..].iter_mut().zip(blocks) {
            *slice = IoSlice::new(block.rest());
            count += 1;
        }
        write(&slices[..count])
    }

    /// Takes `n` written bytes off; returns how many came from `high` and `low`.
    fn advance(&mut self, n: usize) -> usize {
        self.bytes -= n;
        let mut left = n;
        consume(&mut self.direct, &mut left, &mut self.spare);
        let counted = left;
        consume(&mut self.high, &mut left, &mut self.spare);
        if consume(&mut self.low, &mut left, &mut self.spare)
            && let Some(begun) = self.low.pop_front()
        {
            self.high.push_front(begun);
        }
        counted
    }
}

/// Takes `left` bytes off the front of `list`; true if its first block is written in part now.
fn consume(list: &mut VecDeque<Block>, left: &mut usize, spare: &mut Vec<u8>) -> bool {
    while *left > 0 {
        let Some(block) = list.front_mut() else {
            return false;
        };
        let rest = block.rest().len();
        if *left < rest {
            block.done += *left;
            *left = 0;
            return true;
        }
        *left -= rest;
        if let Some(Block {
            bytes: Bytes::Copied(mut vec),
            ..
        }) = list.pop_front()
            && vec.capacity() > spare.capacity()
            && vec.capacity() <= COLLECT_LIMIT
        {
            vec.clear();
            *spare = vec;
        }
    }
    false
}

/// Puts `data` at the end of `list`, joined with its last block if both are small.
fn append(list: &mut VecDeque<Block>, data: Data<'_>, spare: &mut Vec<u8>) {
    let slice = data.as_slice();
    if slice.len() <= COPY_LIMIT {
        if let Some(Block {
            bytes: Bytes::Copied(last),
            ..
        }) = list.back_mut()
            && last.len() + slice.len() <= COLLECT_LIMIT
        {
            last.extend_from_slice(slice);
            return;
        }
        let mut vec = std::mem::take(spare);
        vec.extend_from_slice(slice);
        list.push_back(Block {
            bytes: Bytes::Copied(vec),
            done: 0,
        });
        return;
    }
    let bytes = match data {
        Data::Slice(slice) => Bytes::Copied(slice.to_vec()),
        Data::Payload(payload) => Bytes::Moved(payload),
    };
    list.push_back(Block { bytes, done: 0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes at most `limit` bytes of everything, then blocks.
    fn take(outbox: &mut Outbox, limit: usize) -> Vec<u8> {
        let mut got = Vec::new();
        outbox.write_to(usize::MAX, |slices| {
            let room = limit - got.len();
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let all: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
            let n = room.min(all.len());
            got.extend_from_slice(&all[..n]);
            Ok(n)
        });
        got
    }

    #[test]
    fn order_of_a_blocked_socket() {
        let mut outbox = Outbox::default();
        outbox.push_direct(Data::Slice(b"rest"));
        for (text, low) in [
            (b"L1", true),
            (b"H1", false),
            (b"L2", true),
            (b"H2", false),
            (b"L3", true),
            (b"H3", false),
        ] {
            outbox.push_queued(Data::Slice(text), low);
        }
        assert_eq!(outbox.bytes(), 16);
        assert_eq!(take(&mut outbox, 100), b"restL1H1H2H3L2L3");
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_begun_low_block_goes_before_a_high_one() {
        let mut outbox = Outbox::default();
        outbox.push_queued(Data::Slice(b"HH"), false);
        outbox.push_queued(Data::Slice(b"lowlow"), true);
        outbox.push_queued(Data::Slice(b"rest"), true);
        assert_eq!(take(&mut outbox, 5), b"HHlow");
        outbox.push_queued(Data::Slice(b"HI"), false);
        assert_eq!(take(&mut outbox, 100), b"lowHIrest");
    }

    #[test]
    fn only_queued_bytes_are_counted() {
        let mut outbox = Outbox::default();
        outbox.push_direct(Data::Slice(b"12345"));
        outbox.push_queued(Data::Slice(b"678"), false);
        let (end, written, counted) = outbox.write_to(usize::MAX, |s| Ok(s[0].len().min(2)));
        assert!(matches!(end, Written::All));
        assert_eq!((written, counted), (8, 3));
    }

    #[test]
    fn large_payloads_move_and_small_ones_join() {
        let mut outbox = Outbox::default();
        outbox.push_direct(Data::Payload(Payload::from_slice(b"a")));
        outbox.push_direct(Data::Payload(Payload::from_slice(&[b'b'; 5000])));
        outbox.push_direct(Data::Slice(b"c"));
        outbox.push_direct(Data::Slice(b"d"));
        let mut shapes = Vec::new();
        outbox.write_to(usize::MAX, |s| {
            shapes.push(s.iter().map(|s| s.len()).collect::<Vec<_>>());
            Ok(s.iter().map(|s| s.len()).sum())
        });
        assert_eq!(shapes, [vec![1, 5000, 2]]);
    }
}
