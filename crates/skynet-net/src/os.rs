//! Sockets of the operating system: non-blocking, not inherited by child
//! processes, watched with epoll (through mio).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use skynet_core::MallocBlock;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::io::{Readiness, Watch};

/// Readiness events taken from the kernel at a time.
const BATCH: usize = 1024;

/// The waker's token; socket ids are below 2^31.
const WAKER: Token = Token(usize::MAX);

/// What may be written to a foreign descriptor once it polled as writable: the
/// smallest `PIPE_BUF` of Linux, which a pipe then accepts without blocking.
const FOREIGN_WRITE: usize = 4096;

/// A descriptor.
#[derive(Debug)]
pub(crate) enum OsSocket {
    Tcp(Socket),
    /// Adopted with `bind`: never closed here, and its blocking mode, which other
    /// processes may share (a terminal), is left alone; it is polled before each call.
    Foreign(RawFd),
}

impl OsSocket {
    /// Begins to connect.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = Self::stream(address)?;
        match socket.connect(&SockAddr::from(address)) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(e) => return Err(e),
        }
        Ok(Self::Tcp(socket))
    }

    pub(crate) fn listen(address: SocketAddr, backlog: i32) -> io::Result<Self> {
        let socket = Self::stream(address)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(backlog)?;
        Ok(Self::Tcp(socket))
    }

    /// A TCP socket with keep-alive, which what a listener accepts inherits.
    fn stream(address: SocketAddr) -> io::Result<Socket> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        socket.set_keepalive(true)?;
        Ok(socket)
    }

    pub(crate) fn accept(&self) -> io::Result<(Self, SocketAddr)> {
        let Self::Tcp(listener) = self else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        // SAFETY: accept4 fills the storage and its length as try_init asks;
        // on failure its result is discarded.
        let (fd, address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
                let fd = libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags);
                if fd < 0 {
                    Err(io::Error::last_os_error())
                } else {
                    Ok(fd)
                }
            })
        }?;
        // SAFETY: accept4 just made the descriptor, which nobody else owns.
        let socket = unsafe { Socket::from_raw_fd(fd) };
        let address = address.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        Ok((Self::Tcp(socket), address))
    }

    pub(crate) fn read(&self, size: usize) -> io::Result<MallocBlock> {
        let mut buffer = Buffer::new(size)?;
        let n = match self {
            Self::Tcp(socket) => socket.recv(buffer.space())?,
            Self::Foreign(fd) => {
                poll_now(*fd, libc::POLLIN)?;
                let space = buffer.space();
                // SAFETY: the space is writable for its length.
                let n = unsafe { libc::read(*fd, space.as_mut_ptr().cast(), space.len()) };
                usize::try_from(n).map_err(|_| io::Error::last_os_error())?
            }
        };
        // SAFETY: recv and read initialise as many bytes as they return.
        Ok(unsafe { buffer.finish(n) })
    }

    pub(crate) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(socket), [one]) => socket.send_with_flags(one, libc::MSG_NOSIGNAL),
            (Self::Tcp(socket), many) => socket.send_vectored_with_flags(many, libc::MSG_NOSIGNAL),
            (Self::Foreign(fd), slices) => {
                let Some(first) = slices.iter().find(|slice| !slice.is_empty()) else {
                    return Ok(0);
                };
                poll_now(*fd, libc::POLLOUT)?;
                let length = first.len().min(FOREIGN_WRITE);
                // SAFETY: the slice is readable for `length` bytes.
                let n = unsafe { libc::write(*fd, first.as_ptr().cast(), length) };
                usize::try_from(n).map_err(|_| io::Error::last_os_error())
            }
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        if let Self::Tcp(socket) = self {
            // Not connected any more: nothing to shut down.
            let _ = socket.shutdown(how);
        }
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::Tcp(socket) => socket.take_error().unwrap_or_else(Some),
            Self::Foreign(_) => None,
        }
    }

    pub(crate) fn set_nodelay(&self) {
        if let Self::Tcp(socket) = self {
            // As the specification has it, failures are ignored.
            let _ = socket.set_tcp_nodelay(true);
        }
    }

    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok()?.as_socket(),
            Self::Foreign(_) => None,
        }
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok()?.as_socket(),
            Self::Foreign(_) => None,
        }
    }

    fn fd(&self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Foreign(fd) => *fd,
        }
    }
}

/// `WouldBlock` unless the descriptor is ready (or in error, which the call then tells).
fn poll_now(fd: RawFd, events: libc::c_short) -> io::Result<()> {
    let mut entry = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one valid entry.
    match unsafe { libc::poll(&raw mut entry, 1, 0) } {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        n if n < 0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A `malloc` block to read into.
struct Buffer {
    pointer: *mut u8,
    size: usize,
}

impl Buffer {
    fn new(size: usize) -> io::Result<Self> {
        // SAFETY: malloc has no preconditions.
        let pointer = unsafe { libc::malloc(size.max(1)) }.cast::<u8>();
        if pointer.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Self { pointer, size })
    }

    fn space(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the block is `size` bytes long and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.cast(), self.size) }
    }

    /// # Safety
    /// The first `n` bytes are initialised, `n` is at most the size.
    unsafe fn finish(self, n: usize) -> MallocBlock {
        debug_assert!(n <= self.size);
        let mut this = std::mem::ManuallyDrop::new(self);
        if this.size > 1024 && n < this.size / 4 {
            // A service may keep what it got: it does not keep the room around it.
            // SAFETY: the block came from malloc; it is replaced by the result unless that is NULL.
            let smaller = unsafe { libc::realloc(this.pointer.cast(), n.max(1)) }.cast::<u8>();
            if !smaller.is_null() {
                this.pointer = smaller;
            }
        }
        // SAFETY: a malloc block whose first `n` bytes the caller vouches for; `this` is not dropped.
        unsafe { MallocBlock::from_raw(this.pointer, n) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the block came from malloc and is still owned.
        unsafe { libc::free(self.pointer.cast()) }
    }
}

/// The half of the poller that any thread may use.
#[derive(Debug)]
pub(crate) struct OsNet {
    registry: Registry,
    waker: Waker,
}

impl OsNet {
    /// The poller and its shared half.
    ///
    /// # Errors
    /// The text for the log.
    pub(crate) fn new() -> Result<(Poller, Self), String> {
        let text = |what: &'static str| {
            move |e: io::Error| format!("socket-server error: {what} failed. ({e})")
        };
        let poll = Poll::new().map_err(text("create event pool"))?;
        let registry = poll.registry();
        let net = Self {
            waker: Waker::new(registry, WAKER).map_err(text("create socket pair"))?,
            registry: registry.try_clone().map_err(text("create event pool"))?,
        };
        let events = Events::with_capacity(BATCH);
        Ok((Poller { poll, events }, net))
    }

    pub(crate) fn watch(
        &self,
        socket: &OsSocket,
        id: i32,
        first: bool,
        watch: Watch,
    ) -> io::Result<()> {
        let interest = match watch {
            // Urgent data nobody sends; a mask without any bit is not allowed.
            Watch::Quiet => Interest::PRIORITY,
            Watch::Connect => Interest::WRITABLE,
            Watch::Read => Interest::READABLE,
            Watch::ReadWrite => Interest::READABLE | Interest::WRITABLE,
        };
        let token = Token(id as usize);
        let fd = socket.fd();
        if first {
            self.registry.register(&mut SourceFd(&fd), token, interest)
        } else {
            self.registry
                .reregister(&mut SourceFd(&fd), token, interest)
        }
    }

    pub(crate) fn forget(&self, socket: &OsSocket) {
        if let OsSocket::Foreign(fd) = socket {
            // It may have been closed by its owner, which ended the watching.
            let _ = self.registry.deregister(&mut SourceFd(fd));
        }
    }

    /// Makes [`Poller::wait`] return.
    pub(crate) fn wake(&self) {
        // Fails only with the counter at its limit: then a wake-up is pending already.
        let _ = self.waker.wake();
    }
}

/// The half of the poller that belongs to the socket thread.
#[derive(Debug)]
pub(crate) struct Poller {
    poll: Poll,
    events: Events,
}

impl Poller {
    /// Waits for events, which [`events`](Self::events) then has.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            other => other,
        }
    }

    /// Socket ids and what changed.
    pub(crate) fn events(&self) -> impl Iterator<Item = (i32, Readiness)> {
        self.events
            .iter()
            .filter(|event| event.token() != WAKER)
            .map(|event| {
                let readiness = Readiness {
                    readable: event.is_readable(),
                    writable: event.is_writable(),
                    error: event.is_error(),
                    read_closed: event.is_read_closed(),
                    hangup: event.is_read_closed() && event.is_write_closed(),
                };
                (event.token().0 as i32, readiness)
            })
    }
}

/// A descriptor kept for the moment when no other can be had: giving it up
/// allows to accept a connection and close it, so that its client is told.
#[derive(Debug, Default)]
pub(crate) struct Reserve(Option<std::fs::File>);

impl Reserve {
    pub(crate) fn new() -> Self {
        Self(std::fs::File::open("/dev/null").ok())
    }

    /// Accepts a connection and closes it; false if not even that was possible.
    pub(crate) fn refuse_one(&mut self, io: &crate::io::Io) -> bool {
        self.0 = None;
        let refused = io.accept();
        let done = refused.is_ok();
        drop(refused);
        *self = Self::new();
        done
    }
}

/// The text of an error as the C library has it.
pub(crate) fn error_text(error: &io::Error) -> String {
    let mut text = error.to_string();
    if error.raw_os_error().is_some()
        && let Some(end) = text.rfind(" (os error ")
    {
        text.truncate(end);
    }
    text
}

/// Whether no descriptor can be had now.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
