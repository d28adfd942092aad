//! The socket layer of a node: what services ask of it, and its life.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use skynet_core::{Component, Handle, Node, Payload, current};

use crate::event::{self, Left};
use crate::info::{self, SocketInfo};
use crate::io::{Backend, Io, Readiness};
use crate::mem::MemNet;
use crate::os::{OsNet, OsSocket, Reserve, error_text};
use crate::outbox::Data;
use crate::resolve::{self, NO_PORT, Resolver};
use crate::socket::{Cx, Phase, Socket, error_to, kind};
use crate::table::Table;
use crate::{thread, write};

/// The ERROR text for a descriptor that cannot be watched.
pub(crate) const LIMIT: &str = "reach skynet socket number limit";

/// Longer host names are refused.
const LONGEST_HOST: usize = 231;

/// Why a request failed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetError {
    /// The host name is too long.
    InvalidAddress,
    /// The node has not started its sockets, or is stopping.
    NotRunning,
    /// The system refused; the text is its reason.
    Failed(String),
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidAddress => f.write_str("Invalid address"),
            Self::NotRunning => f.write_str("sockets are not running"),
            Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for NetError {}

/// What exists while the node runs.
struct Running {
    node: Weak<Node>,
    backend: Backend,
}

/// The socket layer. Give it to the node's builder as component and as extension;
/// services find it with [`Node::extension`].
///
/// Requests may come from any thread. Events are messages of type
/// [`SOCKET`](skynet_core::ptype::SOCKET) to the socket's owner; [`kind`](crate::kind) lists them.
pub struct Net {
    this: Weak<Net>,
    running: OnceLock<Running>,
    table: Table,
    resolver: Resolver,
    stopping: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Net({:?})", self.table)
    }
}

impl Net {
    /// A socket layer that has not been started.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            running: OnceLock::new(),
            table: Table::default(),
            resolver: Resolver::default(),
            stopping: AtomicBool::new(false),
            thread: Mutex::new(None),
        })
    }

    /// Tells the layers of several nodes apart.
    pub(crate) fn key(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Where the node is, to be compared only.
    pub(crate) fn node(&self) -> *const Node {
        self.running
            .get()
            .map_or(std::ptr::null(), |running| running.node.as_ptr())
    }

    /// Calls `f` with the node, unless it is not running.
    pub(crate) fn with<R>(&self, f: impl FnOnce(Cx<'_>) -> R) -> Option<R> {
        let running = self.running.get()?;
        let node = running.node.upgrade()?;
        Some(f(self.cx(&node, running)))
    }

    fn cx<'a>(&'a self, node: &'a Node, running: &'a Running) -> Cx<'a> {
        Cx {
            node,
            backend: &running.backend,
            table: &self.table,
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn with_running<R>(
        &self,
        f: impl FnOnce(Cx<'_>) -> Result<R, NetError>,
    ) -> Result<R, NetError> {
        if self.is_stopping() {
            return Err(NetError::NotRunning);
        }
        self.with(f).unwrap_or(Err(NetError::NotRunning))
    }

    // ---- requests ----

    /// Connects to `host`, an address or a name, which is looked up on another
    /// thread. CONNECT or ERROR follows; what is sent before goes out after CONNECT.
    ///
    /// # Errors
    /// No id was made: the host is too long, or the node does not run.
    pub fn connect(
        &self,
        owner: Handle,
        host: impl AsRef<[u8]>,
        port: i32,
    ) -> Result<i32, NetError> {
        let host = host.as_ref();
        self.with_running(|cx| {
            if host.len() > LONGEST_HOST {
                let host = String::from_utf8_lossy(host);
                let line = format!("socket-server error: Invalid addr {host}.");
                cx.node.log(0, line.as_bytes());
                return Err(NetError::InvalidAddress);
            }
            let socket = self.table.insert(|id| Socket::new(id, owner));
            match (u16::try_from(port), &cx.backend) {
                (Err(_), _) => event::resolved(cx, &socket, Err(NO_PORT.to_owned())),
                (Ok(port), Backend::Memory(_)) => {
                    event::resolved(cx, &socket, resolve::without_server(host, port));
                }
                (Ok(port), Backend::Os(_)) => match resolve::numeric(host, port) {
                    Some(address) => event::resolved(cx, &socket, Ok(vec![address])),
                    None => self.look_up(&socket, host, port),
                },
            }
            Ok(socket.id)
        })
    }

    fn look_up(&self, socket: &Arc<Socket>, host: &[u8], port: u16) {
        let (net, socket) = (self.this.clone(), socket.clone());
        self.resolver.ask(host, port, move |result| {
            if let Some(net) = net.upgrade() {
                net.with(|cx| event::resolved(cx, &socket, result));
            }
        });
    }

    /// Listens; connections are accepted from [`start`](Self::start) on. CONNECT with the
    /// port (also if `port` was 0) and the address follows. An empty host is every IPv4 address. A
    /// name is looked up on this thread.
    ///
    /// # Errors
    /// Why no address of the host could be listened at.
    pub fn listen(
        &self,
        owner: Handle,
        host: impl AsRef<[u8]>,
        port: i32,
        backlog: i32,
    ) -> Result<i32, NetError> {
        let host = match host.as_ref() {
            b"" => b"0.0.0.0",
            host => host,
        };
        self.with_running(|cx| {
            let port = u16::try_from(port).map_err(|_| NetError::Failed(NO_PORT.to_owned()))?;
            let addresses = match (&cx.backend, resolve::numeric(host, port)) {
                (_, Some(address)) => vec![address],
                (Backend::Memory(_), None) => {
                    resolve::without_server(host, port).map_err(NetError::Failed)?
                }
                (Backend::Os(_), None) => {
                    resolve::blocking(host, port, true).map_err(NetError::Failed)?
                }
            };
            let mut failure = String::new();
            for address in addresses {
                match cx.backend.listen(address, backlog) {
                    Ok(io) => return Ok(self.add_listener(cx, owner, io)),
                    // The first address is the one that was meant.
                    Err(error) if failure.is_empty() => failure = error_text(&error),
                    Err(_) => {}
                }
            }
            Err(NetError::Failed(failure))
        })
    }

    fn add_listener(&self, cx: Cx<'_>, owner: Handle, io: Io) -> i32 {
        let local = io.local();
        let socket = self
            .table
            .insert(|id| Socket::with_io(id, owner, Phase::ListenPaused, io.clone()));
        let port = local.map_or(0, |address| i32::from(address.port()));
        let ip = local.map(|address| address.ip().to_string());
        let mut state = socket.state.lock();
        state.emit_text(cx, socket.id, kind::CONNECT, port, &ip.unwrap_or_default());
        socket.id
    }

    /// Adopts a descriptor, which stays the caller's to close: CONNECT `binding`
    /// follows and data is read at once. ERROR if it cannot be watched (a regular
    /// file), or under the deterministic driver.
    ///
    /// # Errors
    /// The node does not run.
    pub fn bind(&self, owner: Handle, fd: i32) -> Result<i32, NetError> {
        self.with_running(|cx| {
            let io = Io::Os(Arc::new(OsSocket::Foreign(fd)));
            let socket = self
                .table
                .insert(|id| Socket::with_io(id, owner, Phase::Bound, io.clone()));
            let id = socket.id;
            let mut state = socket.state.lock();
            if state.is_gone() {
                // Somebody has closed an id that nobody gave them.
                return Ok(id);
            }
            let refusal = match cx.backend {
                Backend::Memory(_) => {
                    Some("real descriptors cannot be used under the deterministic driver")
                }
                Backend::Os(_) => {
                    // Messages wait for the lock, so CONNECT comes first.
                    let watched = cx.backend.watch(&io, id, true, crate::io::Watch::Read);
                    watched.is_err().then_some(LIMIT)
                }
            };
            match refusal {
                None => {
                    state.watched = true;
                    state.emit_text(cx, id, kind::CONNECT, 0, "binding");
                }
                Some(text) => {
                    state.emit_text(cx, id, kind::ERROR, 0, text);
                    state.release(cx, id);
                }
            }
            Ok(id)
        })
    }

    /// Starts an accepted socket or a listener for `requester`, who becomes its owner,
    /// takes a connected one over, or resumes a paused one.
    pub fn start(&self, requester: Handle, id: i32) {
        self.with(|cx| {
            let Some(socket) = self.table.get(id) else {
                return error_to(cx.node, requester, id, "invalid socket");
            };
            let mut state = socket.state.lock();
            let was_reading = std::mem::replace(&mut state.reading, true);
            match state.phase {
                Phase::Gone => {
                    state.reading = false;
                    error_to(cx.node, requester, id, "invalid socket");
                }
                Phase::HalfRead => {
                    state.reading = false;
                    error_to(cx.node, requester, id, "socket closed");
                }
                Phase::Accepted | Phase::ListenPaused => {
                    state.phase = match state.phase {
                        Phase::Accepted => Phase::Connected,
                        _ => Phase::Listening,
                    };
                    state.owner = requester;
                    state.emit_text(cx, id, kind::CONNECT, 0, "start");
                    state.watch_read(cx, id);
                }
                Phase::Connected => {
                    state.owner = requester;
                    state.emit_text(cx, id, kind::CONNECT, 0, "transfer");
                    if !was_reading {
                        state.watch_read(cx, id);
                    }
                }
                Phase::Listening | Phase::Bound | Phase::HalfWrite => {
                    if !was_reading {
                        state.watch_read(cx, id);
                    }
                }
                Phase::Connecting => {}
            }
        });
    }

    /// Stops reading (or accepting) until the next [`start`](Self::start).
    pub fn pause(&self, id: i32) {
        if let Some(socket) = self.table.get(id) {
            // Events that come now are ignored; `start` has them told again.
            socket.state.lock().reading = false;
        }
    }

    /// Closes: CLOSE follows, and what was sent before is still written.
    pub fn close(&self, id: i32) {
        self.with(|cx| {
            let Some(socket) = self.table.get(id) else {
                return;
            };
            let mut state = socket.state.lock();
            write::flush(cx, &socket, &mut state);
            if state.is_gone() || state.closing {
                return;
            }
            if state.is_writable() && state.unwritten() > 0 {
                state.closing = true;
                state.reading = false;
                state.phase = Phase::HalfRead;
                if let Some(io) = &state.io {
                    io.shutdown(std::net::Shutdown::Read);
                }
                state.emit_close(cx, id);
            } else {
                state.emit_close(cx, id);
                state.release(cx, id);
            }
        });
    }

    /// Closes at once: what the system does not take now is dropped. CLOSE follows.
    pub fn shutdown(&self, id: i32) {
        self.with(|cx| {
            let Some(socket) = self.table.get(id) else {
                return;
            };
            let mut state = socket.state.lock();
            write::flush(cx, &socket, &mut state);
            if !state.is_gone() {
                state.emit_close(cx, id);
                state.release(cx, id);
            }
        });
    }

    /// Sends small packets without waiting for more (TCP_NODELAY).
    pub fn nodelay(&self, id: i32) {
        if let Some(socket) = self.table.get(id) {
            let mut state = socket.state.lock();
            state.nodelay = true;
            if let Some(io) = &state.io {
                io.set_nodelay();
            }
        }
    }

    /// Sends; a large payload is not copied. False if the id is stale or closing.
    /// True does not mean that it arrives.
    pub fn send(&self, id: i32, payload: Payload) -> bool {
        self.put(id, Data::Payload(payload), false)
    }

    /// Sends a copy of `bytes`; see [`send`](Self::send).
    pub fn send_slice(&self, id: i32, bytes: &[u8]) -> bool {
        self.put(id, Data::Slice(bytes), false)
    }

    /// Sends behind everything else that waits; see [`send`](Self::send).
    pub fn send_low(&self, id: i32, payload: Payload) -> bool {
        self.put(id, Data::Payload(payload), true)
    }

    /// Sends a copy of `bytes` behind everything else that waits; see [`send`](Self::send).
    pub fn send_low_slice(&self, id: i32, bytes: &[u8]) -> bool {
        self.put(id, Data::Slice(bytes), true)
    }

    fn put(&self, id: i32, data: Data<'_>, low: bool) -> bool {
        self.table
            .get(id)
            .is_some_and(|socket| write::send(self, &socket, data, low))
    }

    /// Statistics of all sockets, highest id first.
    pub fn info(&self) -> Vec<SocketInfo> {
        self.table
            .all()
            .iter()
            .filter_map(|s| info::of(s))
            .collect()
    }

    /// The addresses of a name, looked up on this thread; each once per socket type.
    ///
    /// # Errors
    /// The resolver's text.
    pub fn resolve(&self, host: impl AsRef<[u8]>) -> Result<Vec<String>, String> {
        let host = host.as_ref();
        let addresses = match self.running.get().map(|running| &running.backend) {
            Some(Backend::Memory(_)) => resolve::without_server(host, 0)?,
            _ => resolve::blocking(host, 0, false)?,
        };
        Ok(addresses.iter().map(|a| a.ip().to_string()).collect())
    }

    // ---- life ----

    /// Deals with one event.
    pub(crate) fn event(
        &self,
        cx: Cx<'_>,
        reserve: &mut Reserve,
        id: i32,
        ready: Readiness,
    ) -> Left {
        self.table.get(id).map_or(Left::Nothing, |socket| {
            event::handle(cx, reserve, &socket, ready)
        })
    }
}

impl Component for Net {
    fn start(&self, node: &Arc<Node>) -> Result<(), String> {
        let simulated = node.sim().is_some();
        let (poller, backend) = if simulated {
            (None, Backend::Memory(Arc::new(MemNet::default())))
        } else {
            let (poller, net) = OsNet::new()?;
            (Some(poller), Backend::Os(net))
        };
        let running = Running {
            node: Arc::downgrade(node),
            backend,
        };
        if self.running.set(running).is_err() {
            return Err("the socket layer was started before".to_owned());
        }
        let Some(poller) = poller else {
            return Ok(());
        };
        let (net, node) = (self.this.clone(), node.clone());
        let thread = std::thread::Builder::new()
            .name("socket".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                if let Some(net) = net.upgrade() {
                    current::as_thread(&node, current::thread_handle::SOCKET, || {
                        net.with(|cx| thread::run(&net, cx, poller));
                    });
                }
                drop(node);
            })
            .map_err(|error| error.to_string())?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.resolver.stop();
        if let Some(Running {
            backend: Backend::Os(net),
            ..
        }) = self.running.get()
        {
            net.wake();
        }
        if let Some(thread) = self.thread.lock().take() {
            // A panic there has been printed; the sockets are closed all the same.
            let _ = thread.join();
        }
        self.with(|cx| {
            for socket in self.table.all() {
                let mut state = socket.state.lock();
                let state = &mut *state;
                if let (Some(io), Some(mut out)) = (&state.io, state.out.take())
                    && !state.busy
                {
                    write::last_try(io, &mut out);
                }
                state.release(cx, socket.id);
            }
        });
    }

    fn dispatch_end(&self, node: &Node) {
        if let Some(running) = self.running.get() {
            write::flush_collected(self.key(), self.cx(node, running));
        }
    }

    fn poll(&self, node: &Node) -> bool {
        let Some(running) = self.running.get() else {
            return false;
        };
        let Backend::Memory(memory) = &running.backend else {
            return false;
        };
        let choose = |count| (node.random() % count as u64) as usize;
        let Some((id, ready)) = memory.next_event(choose) else {
            return false;
        };
        let left = self.event(self.cx(node, running), &mut Reserve::default(), id, ready);
        if let Left::More(ready) = left {
            memory.post(id, ready);
        }
        true
    }
}
