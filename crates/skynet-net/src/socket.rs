//! One socket: its state, and the messages its owner gets (spec/03-network.md §1.3, §1.4).
//!
//! # Locking
//! Everything about a socket changes under its lock, on whichever thread the
//! change comes from: a worker that starts or closes it, the socket thread that
//! has an event. Messages are pushed under the lock too, so that their order is
//! that of the changes. System calls that move data run without the lock:
//! - only the socket thread reads and accepts;
//! - `busy` is held by the one thread that writes; what others send meanwhile
//!   is queued, and the writer takes it along.
//!
//! Whoever comes back from such a call looks at the state anew: the socket may
//! be gone. The descriptor lives as long as somebody uses it, so it cannot be
//! another socket's by then.

use std::net::SocketAddr;

use parking_lot::Mutex;
use skynet_core::{Handle, MallocBlock, Message, Node, Payload, ptype};

use crate::io::{Backend, Io, Watch};
use crate::outbox::Outbox;
use crate::table::Table;

/// Kinds of socket messages (`type` of the record).
pub mod kind {
    /// Bytes that arrived.
    pub const DATA: i32 = 1;
    /// A connection, a listener or a start has succeeded.
    pub const CONNECT: i32 = 2;
    /// The socket was closed by one side.
    pub const CLOSE: i32 = 3;
    /// A listener has a new connection.
    pub const ACCEPT: i32 = 4;
    /// Something failed; the text says what.
    pub const ERROR: i32 = 5;
    /// A datagram.
    pub const UDP: i32 = 6;
    /// Much waits to be written, or (0) all has been.
    pub const WARNING: i32 = 7;
}

/// Texts inside a message are cut to this.
const TEXT_LIMIT: usize = 128;

/// The size of the first read from a socket.
pub(crate) const FIRST_READ: u32 = 64;

const WARNING_BASE: usize = 1 << 20;

/// What every operation needs.
#[derive(Clone, Copy)]
pub(crate) struct Cx<'a> {
    pub(crate) node: &'a Node,
    pub(crate) backend: &'a Backend,
    pub(crate) table: &'a Table,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    ListenPaused,
    Listening,
    /// Also while the name is looked up; then there is no `io`.
    Connecting,
    /// Accepted and not started.
    Accepted,
    Connected,
    /// The peer sends no more, or the socket is closing and has data to write.
    HalfRead,
    /// A write has failed.
    HalfWrite,
    /// A foreign descriptor.
    Bound,
    /// Not in the table any more.
    Gone,
}

/// Counters for `info`.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counters {
    /// Bytes; accepted connections of a listener.
    pub(crate) read: u64,
    pub(crate) written: u64,
    /// Centiseconds.
    pub(crate) read_at: u64,
    pub(crate) written_at: u64,
}

/// A connection that is being made.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Addresses not tried yet, the next one last.
    pub(crate) addresses: Vec<SocketAddr>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) owner: Handle,
    pub(crate) io: Option<Io>,
    /// Events are wanted for incoming data (or connections).
    pub(crate) reading: bool,
    /// `close` came while data was unwritten.
    pub(crate) closing: bool,
    pub(crate) close_sent: bool,
    pub(crate) nodelay: bool,
    pub(crate) watched: bool,
    /// Room in the socket is told as an event.
    pub(crate) watch_write: bool,
    /// A thread is writing.
    pub(crate) busy: bool,
    /// The socket took no more; an event will tell that it does.
    pub(crate) blocked: bool,
    /// That event came while a thread was writing.
    pub(crate) room_seen: bool,
    /// The size of the next read.
    pub(crate) read_size: u32,
    /// The thread in whose list of sockets to flush this one is, or 0.
    pub(crate) collected_by: u32,
    pub(crate) out: Option<Box<Outbox>>,
    /// Bytes the writing thread has taken.
    pub(crate) in_flight: usize,
    /// Unwritten bytes that count for warnings.
    pub(crate) counted: usize,
    /// Where the next warning is due; 0: none was given.
    pub(crate) warn_at: usize,
    pub(crate) attempt: Option<Box<Attempt>>,
    pub(crate) counters: Counters,
}

/// A socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) id: i32,
    pub(crate) state: Mutex<State>,
}

impl Socket {
    /// A socket of `owner` that tries to connect.
    pub(crate) fn new(id: i32, owner: Handle) -> Self {
        Self {
            id,
            state: Mutex::new(State {
                phase: Phase::Connecting,
                owner,
                io: None,
                reading: true,
                closing: false,
                close_sent: false,
                nodelay: false,
                watched: false,
                watch_write: false,
                busy: false,
                blocked: false,
                room_seen: false,
                read_size: FIRST_READ,
                collected_by: 0,
                out: None,
                in_flight: 0,
                counted: 0,
                warn_at: 0,
                attempt: None,
                counters: Counters::default(),
            }),
        }
    }

    /// A socket that has its descriptor.
    pub(crate) fn with_io(id: i32, owner: Handle, phase: Phase, io: Io) -> Self {
        let mut socket = Self::new(id, owner);
        let state = socket.state.get_mut();
        state.phase = phase;
        state.io = Some(io);
        state.reading = phase == Phase::Bound;
        socket
    }
}

/// An ERROR message to whoever asked; a dead asker is nobody's concern.
pub(crate) fn error_to(node: &Node, to: Handle, id: i32, text: &str) {
    let payload = Payload::socket_text(kind::ERROR, id, 0, cut(text));
    let _ = node.push(to, Message::new(0, 0, ptype::SOCKET, payload));
}

fn cut(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(TEXT_LIMIT)]
}

impl State {
    pub(crate) fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// Whether bytes may go to the descriptor.
    pub(crate) fn is_writable(&self) -> bool {
        matches!(
            self.phase,
            Phase::Connected | Phase::HalfRead | Phase::Bound
        )
    }

    /// Bytes that have not been written.
    pub(crate) fn unwritten(&self) -> usize {
        self.in_flight + self.out.as_ref().map_or(0, |out| out.bytes())
    }

    fn push(&mut self, cx: Cx<'_>, id: i32, payload: Payload) {
        let message = Message::new(0, 0, ptype::SOCKET, payload);
        if cx.node.push(self.owner, message).is_err() {
            // Nobody would ever close a socket whose owner has died.
            self.release(cx, id);
        }
    }

    /// A message without text to the owner. If the owner is dead the socket is gone afterwards.
    pub(crate) fn emit(&mut self, cx: Cx<'_>, id: i32, kind: i32, ud: i32) {
        self.push(cx, id, Payload::socket(kind, id, ud, None));
    }

    /// A message with text to the owner; see [`emit`](Self::emit).
    pub(crate) fn emit_text(&mut self, cx: Cx<'_>, id: i32, kind: i32, ud: i32, text: &str) {
        self.push(cx, id, Payload::socket_text(kind, id, ud, cut(text)));
    }

    /// Data to the owner; see [`emit`](Self::emit).
    pub(crate) fn emit_data(&mut self, cx: Cx<'_>, id: i32, block: MallocBlock) {
        let size = block.as_slice().len() as i32;
        self.push(cx, id, Payload::socket(kind::DATA, id, size, Some(block)));
    }

    /// CLOSE, unless it was sent before.
    pub(crate) fn emit_close(&mut self, cx: Cx<'_>, id: i32) {
        if !std::mem::replace(&mut self.close_sent, true) {
            self.emit(cx, id, kind::CLOSE, 0);
        }
    }

    /// Frees the id and closes the descriptor; unwritten data is dropped.
    pub(crate) fn release(&mut self, cx: Cx<'_>, id: i32) {
        if self.phase == Phase::Gone {
            return;
        }
        self.phase = Phase::Gone;
        self.reading = false;
        cx.table.remove(id);
        if let Some(io) = self.io.take() {
            if self.watched {
                cx.backend.forget(&io);
            }
            drop(io);
        }
        self.out = None;
        self.counted = 0;
        self.attempt = None;
    }

    /// Has the present readiness told. False after an ERROR that it cannot be.
    pub(crate) fn watch(&mut self, cx: Cx<'_>, id: i32, watch: Watch) -> bool {
        let Some(io) = &self.io else { return true };
        match cx.backend.watch(io, id, !self.watched, watch) {
            Ok(()) => {
                self.watched = true;
                true
            }
            Err(_) => {
                let text = match watch {
                    Watch::Read | Watch::Quiet => "enable read failed",
                    Watch::Connect | Watch::ReadWrite => "enable write failed",
                };
                self.emit_text(cx, id, kind::ERROR, 0, text);
                false
            }
        }
    }

    /// Has arriving data (or connections) told, beginning with what is there already.
    pub(crate) fn watch_read(&mut self, cx: Cx<'_>, id: i32) {
        let watch = if self.watch_write {
            Watch::ReadWrite
        } else {
            Watch::Read
        };
        self.watch(cx, id, watch);
    }

    /// Counts bytes that were queued behind unwritten ones; WARNING if they are many.
    pub(crate) fn count_queued(&mut self, cx: Cx<'_>, id: i32, size: usize) {
        self.counted += size;
        if self.counted >= WARNING_BASE && self.counted >= self.warn_at {
            self.warn_at = if self.warn_at == 0 {
                2 * WARNING_BASE
            } else {
                self.warn_at.saturating_mul(2)
            };
            let kib = self.counted.div_ceil(1024);
            self.emit(cx, id, kind::WARNING, kib.min(i32::MAX as usize) as i32);
        }
    }
}
