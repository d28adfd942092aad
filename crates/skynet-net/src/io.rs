//! The seam between the state machine of a socket and what carries its bytes:
//! the operating system, or the memory of a node under the deterministic driver.
//!
//! Readiness is edge-triggered on both sides: an event says that something
//! changed, and [`Backend::watch`] has a present state told once more.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;

use skynet_core::MallocBlock;

use crate::mem::{MemEnd, MemListener, MemNet};
use crate::os::{OsNet, OsSocket};

/// What has changed about a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// An error is pending.
    pub(crate) error: bool,
    /// The peer sends no more.
    pub(crate) read_closed: bool,
    /// Both directions are down.
    pub(crate) hangup: bool,
}

impl Readiness {
    pub(crate) fn merge(&mut self, other: Self) {
        self.readable |= other.readable;
        self.writable |= other.writable;
        self.error |= other.error;
        self.read_closed |= other.read_closed;
        self.hangup |= other.hangup;
    }
}

/// Which changes to hear of; errors and hang-ups are always told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// Nothing else.
    Quiet,
    /// The end of a connection attempt.
    Connect,
    Read,
    ReadWrite,
}

/// One socket. Clones share it; it is closed with the last one.
#[derive(Debug, Clone)]
pub(crate) enum Io {
    Os(Arc<OsSocket>),
    Memory(Arc<MemEnd>),
    MemoryListener(Arc<MemListener>),
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Io {
    /// At most `size` bytes; an empty block at the end of the stream.
    pub(crate) fn read(&self, size: usize) -> io::Result<MallocBlock> {
        match self {
            Self::Os(socket) => socket.read(size),
            Self::Memory(end) => end.read(size),
            Self::MemoryListener(_) => unsupported(),
        }
    }

    pub(crate) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Os(socket) => socket.write(slices),
            Self::Memory(end) => end.write(slices),
            Self::MemoryListener(_) => unsupported(),
        }
    }

    pub(crate) fn accept(&self) -> io::Result<(Self, SocketAddr)> {
        match self {
            Self::Os(socket) => {
                let (socket, address) = socket.accept()?;
                Ok((Self::Os(Arc::new(socket)), address))
            }
            Self::MemoryListener(listener) => {
                let (end, address) = listener.accept()?;
                Ok((Self::Memory(Arc::new(end)), address))
            }
            Self::Memory(_) => unsupported(),
        }
    }

    /// Shuts one direction down; a peer that is gone already is no error.
    pub(crate) fn shutdown(&self, how: std::net::Shutdown) {
        match self {
            Self::Os(socket) => socket.shutdown(how),
            Self::Memory(end) => end.shutdown(how),
            Self::MemoryListener(_) => {}
        }
    }

    /// The pending error, which is cleared.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::Os(socket) => socket.take_error(),
            Self::Memory(end) => end.take_error(),
            Self::MemoryListener(_) => None,
        }
    }

    pub(crate) fn set_nodelay(&self) {
        if let Self::Os(socket) = self {
            socket.set_nodelay();
        }
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Os(socket) => socket.local(),
            Self::Memory(end) => Some(end.local()),
            Self::MemoryListener(listener) => Some(listener.local()),
        }
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Os(socket) => socket.peer(),
            Self::Memory(end) => Some(end.peer()),
            Self::MemoryListener(_) => None,
        }
    }
}

/// Makes and watches sockets.
#[derive(Debug)]
pub(crate) enum Backend {
    Os(OsNet),
    Memory(Arc<MemNet>),
}

impl Backend {
    /// Begins to connect; how it ends is an event of a socket watched with [`Watch::Connect`].
    pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<Io> {
        match self {
            Self::Os(_) => Ok(Io::Os(Arc::new(OsSocket::connect(address)?))),
            Self::Memory(net) => Ok(Io::Memory(Arc::new(net.connect(address)?))),
        }
    }

    pub(crate) fn listen(&self, address: SocketAddr, backlog: i32) -> io::Result<Io> {
        match self {
            Self::Os(_) => Ok(Io::Os(Arc::new(OsSocket::listen(address, backlog)?))),
            Self::Memory(net) => Ok(Io::MemoryListener(Arc::new(net.listen(address)?))),
        }
    }

    /// Tells what happens to `io` as events of `id`, from its present state on. `first`: it is not watched yet.
    pub(crate) fn watch(&self, io: &Io, id: i32, first: bool, watch: Watch) -> io::Result<()> {
        match (self, io) {
            (Self::Os(net), Io::Os(socket)) => net.watch(socket, id, first, watch),
            (_, Io::Memory(end)) => {
                end.watch(id);
                Ok(())
            }
            (_, Io::MemoryListener(listener)) => {
                listener.watch(id);
                Ok(())
            }
            (Self::Memory(_), Io::Os(_)) => unsupported(),
        }
    }

    /// Ends the watching of a socket that is not closed with its last clone.
    pub(crate) fn forget(&self, io: &Io) {
        if let (Self::Os(net), Io::Os(socket)) = (self, io) {
            net.forget(socket);
        }
    }
}
