//! Statistics (spec/03-network.md §1.13).

use skynet_core::Handle;

use crate::event::address_text;
use crate::io::Io;
use crate::socket::{Phase, Socket};

/// What a socket is, as statistics tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketKind {
    /// A started listener.
    Listen,
    /// A connection.
    Tcp,
    /// A foreign descriptor.
    Bind,
    /// One direction is closed.
    Closing,
}

/// One socket's statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketInfo {
    /// The socket id.
    pub id: i32,
    /// The service that gets its messages.
    pub owner: Handle,
    /// What it is.
    pub kind: SocketKind,
    /// Bytes read; of a listener: connections accepted.
    pub read: u64,
    /// Bytes written.
    pub write: u64,
    /// When it last read, in centiseconds of the node.
    pub read_time: u64,
    /// When it last wrote, in centiseconds of the node.
    pub write_time: u64,
    /// Bytes that wait to be written.
    pub write_buffer: u64,
    /// Whether it reads (is not paused).
    pub reading: bool,
    /// Whether it waits for room to write.
    pub writing: bool,
    /// `ip:port` of the peer, of a listener its own; empty if unknown.
    pub name: String,
}

/// `None` for sockets in states that are not shown.
pub(crate) fn of(socket: &Socket) -> Option<SocketInfo> {
    let state = socket.state.lock();
    let kind = match state.phase {
        Phase::Gone | Phase::ListenPaused | Phase::Connecting | Phase::Accepted => return None,
        Phase::Listening => SocketKind::Listen,
        Phase::Connected => SocketKind::Tcp,
        Phase::Bound => SocketKind::Bind,
        Phase::HalfRead | Phase::HalfWrite => SocketKind::Closing,
    };
    let address = state.io.as_ref().and_then(|io| match kind {
        SocketKind::Listen => Io::local(io),
        _ => Io::peer(io),
    });
    Some(SocketInfo {
        id: socket.id,
        owner: state.owner,
        kind,
        read: state.counters.read,
        write: state.counters.written,
        read_time: state.counters.read_at,
        write_time: state.counters.written_at,
        write_buffer: state.unwritten() as u64,
        reading: state.reading,
        writing: state.blocked || state.busy,
        name: address.map(address_text).unwrap_or_default(),
    })
}
