//! Framing of game clients: packets of a 2-byte big-endian length and as many
//! bytes (spec/03-network.md §3). Pure: chunks in, packets out.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use skynet_core::MallocBlock;

/// The longest packet.
pub const MAX_PACKET: usize = 0xffff;

/// How much is set aside for a packet on the word of its header alone: a client that
/// announces the maximum and sends nothing must not pin 64 KiB.
const TRUST: usize = 2048;

/// Data too long for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong(pub usize);

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid size (too long) of data : {}", self.0)
    }
}

impl std::error::Error for TooLong {}

/// One packet of one connection, without its header.
pub struct Packet {
    /// The connection.
    pub fd: i32,
    /// The bytes, in a `malloc` block that may be given away.
    pub data: MallocBlock,
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Packet({}, {} bytes)",
            self.fd,
            self.data.as_slice().len()
        )
    }
}

/// What a chunk led to.
#[derive(Debug)]
pub enum Decoded {
    /// No packet is complete.
    Nothing,
    /// Exactly one packet is complete and nothing of the chunk is left.
    One(Packet),
    /// Packets wait for [`Netpack::pop`]; also when one packet is complete and a piece of the next has come.
    More,
}

/// A packet that has begun.
enum Partial {
    /// The first byte of the header.
    Header(u8),
    /// The length, and what has come of the body.
    Body(usize, Vec<u8>),
}

/// Reassembles the packets of many connections; complete ones keep their order of arrival.
#[derive(Default)]
pub struct Netpack {
    partial: HashMap<i32, Partial>,
    complete: VecDeque<Packet>,
}

impl fmt::Debug for Netpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Netpack({} partial, {} complete)",
            self.partial.len(),
            self.complete.len()
        )
    }
}

impl Netpack {
    /// No connections yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that arrived on connection `fd`.
    pub fn push(&mut self, fd: i32, chunk: &[u8]) -> Decoded {
        let mut rest = chunk;
        let mut first: Option<Packet> = None;
        let mut many = false;
        let mut partial = self.partial.remove(&fd);
        loop {
            let data = match step(&mut partial, &mut rest) {
                Some(data) => data,
                None => break,
            };
            let packet = Packet { fd, data };
            // The first packet goes to the caller directly if nothing follows it.
            match first.take() {
                None if !many => first = Some(packet),
                None => self.complete.push_back(packet),
                Some(before) => {
                    many = true;
                    self.complete.push_back(before);
                    self.complete.push_back(packet);
                }
            }
        }
        let pending = partial.is_some();
        if let Some(partial) = partial {
            self.partial.insert(fd, partial);
        }
        match first {
            Some(packet) if pending => {
                self.complete.push_back(packet);
                Decoded::More
            }
            Some(packet) => Decoded::One(packet),
            None if many => Decoded::More,
            None => Decoded::Nothing,
        }
    }

    /// The oldest complete packet.
    pub fn pop(&mut self) -> Option<Packet> {
        self.complete.pop_front()
    }

    /// Packets that wait for [`pop`](Self::pop).
    pub fn waiting(&self) -> usize {
        self.complete.len()
    }

    /// Forgets the partial packet of a connection that has ended; its complete ones stay.
    pub fn forget(&mut self, fd: i32) {
        self.partial.remove(&fd);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.partial.clear();
        self.complete.clear();
    }
}

/// Takes bytes from `rest` until a packet is complete or none are left; what
/// is unfinished then is in `partial`.
fn step(partial: &mut Option<Partial>, rest: &mut &[u8]) -> Option<MallocBlock> {
    let (length, mut body) = match partial.take() {
        Some(Partial::Body(length, body)) => (length, body),
        begun => {
            let high = match begun {
                Some(Partial::Header(high)) => high,
                _ => take_byte(rest)?,
            };
            let Some(low) = take_byte(rest) else {
                *partial = Some(Partial::Header(high));
                return None;
            };
            (usize::from(high) << 8 | usize::from(low), Vec::new())
        }
    };
    let wanted = length - body.len();
    let (now, later) = rest.split_at(wanted.min(rest.len()));
    *rest = later;
    if now.len() == wanted {
        if body.is_empty() {
            return Some(MallocBlock::copy_of(now));
        }
        body.extend_from_slice(now);
        return Some(MallocBlock::copy_of(&body));
    }
    if body.capacity() == 0 {
        body.reserve_exact(length.min(TRUST.max(now.len())));
    }
    body.extend_from_slice(now);
    *partial = Some(Partial::Body(length, body));
    None
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, later) = rest.split_first()?;
    *rest = later;
    Some(byte)
}

/// Puts the header before `data`.
///
/// # Errors
/// `data` is longer than [`MAX_PACKET`].
pub fn pack(data: &[u8]) -> Result<MallocBlock, TooLong> {
    if data.len() > MAX_PACKET {
        return Err(TooLong(data.len()));
    }
    let mut block = MallocBlock::zeroed(data.len() + 2);
    let bytes = block.as_mut_slice();
    bytes[..2].copy_from_slice(&(data.len() as u16).to_be_bytes());
    bytes[2..].copy_from_slice(data);
    Ok(block)
}
