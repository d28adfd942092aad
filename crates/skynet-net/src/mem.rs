//! Sockets in memory, for nodes under the deterministic driver: connections
//! between addresses of one node, with the events and errors that TCP gives.
//!
//! One lock holds the whole network; it is never held while anything else is called.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use skynet_core::MallocBlock;

use crate::io::Readiness;

/// What a direction holds before its writer blocks.
const CAPACITY: usize = 256 * 1024;
/// Ports that are given out by themselves.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 49152..=65535;

fn os_error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// One end of a connection.
#[derive(Debug)]
struct Side {
    /// The socket that is told of changes, once it is watched.
    watcher: Option<i32>,
    address: SocketAddr,
    /// What the peer has written and this end has not read.
    inbox: VecDeque<u8>,
    /// The peer writes no more.
    ended: bool,
    /// This end writes no more.
    finished: bool,
    closed: bool,
    /// The connection is gone (refused, reset).
    dead: bool,
    error: Option<i32>,
    /// A write was refused: tell when there is room.
    blocked: bool,
}

impl Side {
    fn new(address: SocketAddr) -> Self {
        Self {
            watcher: None,
            address,
            inbox: VecDeque::new(),
            ended: false,
            finished: false,
            closed: false,
            dead: false,
            error: None,
            blocked: false,
        }
    }
}

#[derive(Debug)]
struct Listener {
    watcher: Option<i32>,
    /// Connections that wait to be accepted.
    waiting: VecDeque<u64>,
}

#[derive(Debug, Default)]
struct World {
    connections: BTreeMap<u64, [Side; 2]>,
    listeners: BTreeMap<SocketAddr, Listener>,
    next_connection: u64,
    next_port: u16,
    /// Changes that have not been told, in the order in which they began.
    events: Vec<(i32, Readiness)>,
}

impl World {
    fn post(&mut self, watcher: Option<i32>, readiness: Readiness) {
        let Some(id) = watcher else { return };
        match self.events.iter_mut().find(|(other, _)| *other == id) {
            Some((_, before)) => before.merge(readiness),
            None => self.events.push((id, readiness)),
        }
    }

    /// Tells the present state of an end.
    fn post_state(&mut self, connection: u64, side: usize) {
        let Some(sides) = self.connections.get(&connection) else {
            return;
        };
        let (this, peer) = (&sides[side], &sides[1 - side]);
        let readiness = Readiness {
            readable: !this.inbox.is_empty() || this.ended || this.dead,
            writable: peer.inbox.len() < CAPACITY || this.dead,
            error: this.error.is_some(),
            read_closed: this.ended || this.dead,
            hangup: this.dead || (this.ended && this.finished),
        };
        let watcher = this.watcher;
        self.post(watcher, readiness);
    }

    fn port_is_used(&self, port: u16) -> bool {
        self.listeners.keys().any(|address| address.port() == port)
            || self
                .connections
                .values()
                .any(|sides| sides[0].address.port() == port)
    }

    fn free_port(&mut self) -> io::Result<u16> {
        for _ in EPHEMERAL {
            let port = self.next_port.max(*EPHEMERAL.start());
            self.next_port = port.checked_add(1).unwrap_or(*EPHEMERAL.start());
            if !self.port_is_used(port) {
                return Ok(port);
            }
        }
        Err(os_error(libc::EADDRNOTAVAIL))
    }

    /// The listener that a connection to `address` reaches.
    fn listener_for(&self, address: SocketAddr) -> Option<SocketAddr> {
        let any4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        let any6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
        let candidates: &[SocketAddr] = match address.ip() {
            IpAddr::V4(_) => &[address, any4, any6],
            IpAddr::V6(_) => &[address, any6],
        };
        candidates
            .iter()
            .copied()
            .find(|candidate| self.listeners.contains_key(candidate))
    }

    fn reset(&mut self, connection: u64, side: usize, code: i32) {
        if let Some(sides) = self.connections.get_mut(&connection) {
            let this = &mut sides[side];
            if !this.closed && !this.dead {
                this.dead = true;
                this.error = Some(code);
                self.post_state(connection, side);
            }
        }
    }

    fn close(&mut self, connection: u64, side: usize) {
        let Some(sides) = self.connections.get_mut(&connection) else {
            return;
        };
        let this = &mut sides[side];
        if let Some(id) = this.watcher.take() {
            self.events.retain(|(other, _)| *other != id);
        }
        this.closed = true;
        let unread = !std::mem::take(&mut this.inbox).is_empty();
        let peer = &mut sides[1 - side];
        if peer.closed || peer.dead {
            if peer.closed {
                self.connections.remove(&connection);
            }
        } else if unread {
            // As TCP has it: data that nobody will read resets the connection.
            self.reset(connection, 1 - side, libc::ECONNRESET);
        } else {
            peer.ended = true;
            self.post_state(connection, 1 - side);
        }
    }
}

/// The network in memory of one node.
#[derive(Debug, Default)]
pub(crate) struct MemNet(Mutex<World>);

impl MemNet {
    /// Connects; refused if nobody listens there, which is told as an event.
    pub(crate) fn connect(self: &Arc<Self>, address: SocketAddr) -> io::Result<MemEnd> {
        let mut world = self.0.lock();
        let ip: IpAddr = match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let local = SocketAddr::new(ip, world.free_port()?);
        let connection = world.next_connection;
        world.next_connection += 1;
        let mut sides = [Side::new(local), Side::new(address)];
        match world.listener_for(address) {
            Some(listener) => {
                if let Some(listener) = world.listeners.get_mut(&listener) {
                    listener.waiting.push_back(connection);
                    let watcher = listener.watcher;
                    let readiness = Readiness {
                        readable: true,
                        ..Readiness::default()
                    };
                    world.post(watcher, readiness);
                }
            }
            None => {
                sides[0].dead = true;
                sides[0].error = Some(libc::ECONNREFUSED);
                sides[1].closed = true;
            }
        }
        world.connections.insert(connection, sides);
        Ok(MemEnd {
            net: self.clone(),
            connection,
            side: 0,
            local,
            peer: address,
        })
    }

    pub(crate) fn listen(self: &Arc<Self>, address: SocketAddr) -> io::Result<MemListener> {
        let mut world = self.0.lock();
        let mut local = address;
        if local.port() == 0 {
            local.set_port(world.free_port()?);
        } else if world.listeners.contains_key(&local)
            || world.listeners.keys().any(|a| {
                a.port() == local.port() && (a.ip().is_unspecified() || local.ip().is_unspecified())
            })
        {
            return Err(os_error(libc::EADDRINUSE));
        }
        let listener = Listener {
            watcher: None,
            waiting: VecDeque::new(),
        };
        world.listeners.insert(local, listener);
        Ok(MemListener {
            net: self.clone(),
            local,
        })
    }

    /// One change that has not been told yet, chosen by `choose` among as many as its argument.
    pub(crate) fn next_event(
        &self,
        choose: impl FnOnce(usize) -> usize,
    ) -> Option<(i32, Readiness)> {
        let mut world = self.0.lock();
        let count = world.events.len();
        if count == 0 {
            return None;
        }
        let at = choose(count).min(count - 1);
        Some(world.events.remove(at))
    }

    /// Tells a change again, because it was not dealt with to the end.
    pub(crate) fn post(&self, id: i32, readiness: Readiness) {
        self.0.lock().post(Some(id), readiness);
    }
}

/// One end of a connection in memory; dropping it closes it.
#[derive(Debug)]
pub(crate) struct MemEnd {
    net: Arc<MemNet>,
    connection: u64,
    side: usize,
    local: SocketAddr,
    peer: SocketAddr,
}

impl MemEnd {
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Changes become events of socket `id`, beginning with the present state.
    pub(crate) fn watch(&self, id: i32) {
        let mut world = self.net.0.lock();
        if let Some(sides) = world.connections.get_mut(&self.connection) {
            sides[self.side].watcher = Some(id);
        }
        world.post_state(self.connection, self.side);
    }

    pub(crate) fn read(&self, size: usize) -> io::Result<MallocBlock> {
        let mut world = self.net.0.lock();
        let Some(sides) = world.connections.get_mut(&self.connection) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let this = &mut sides[self.side];
        if this.inbox.is_empty() {
            return match this.error.take() {
                Some(code) => Err(os_error(code)),
                None if this.ended || this.dead => Ok(MallocBlock::copy_of(&[])),
                None => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let n = size.min(this.inbox.len());
        let (front, back) = this.inbox.as_slices();
        let mut block = MallocBlock::zeroed(n);
        let first = n.min(front.len());
        block.as_mut_slice()[..first].copy_from_slice(&front[..first]);
        block.as_mut_slice()[first..].copy_from_slice(&back[..n - first]);
        this.inbox.drain(..n);
        let peer = &mut sides[1 - self.side];
        if std::mem::take(&mut peer.blocked) {
            world.post_state(self.connection, 1 - self.side);
        }
        Ok(block)
    }

    pub(crate) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut world = self.net.0.lock();
        let Some(sides) = world.connections.get_mut(&self.connection) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let [first, second] = sides;
        let (this, peer) = if self.side == 0 {
            (first, second)
        } else {
            (second, first)
        };
        if this.dead || this.finished {
            return Err(os_error(this.error.take().unwrap_or(libc::EPIPE)));
        }
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        if peer.closed {
            // The first write to a peer that is gone succeeds; its answer is a reset.
            let code = if this.ended {
                libc::EPIPE
            } else {
                libc::ECONNRESET
            };
            world.reset(self.connection, self.side, code);
            return Ok(wanted);
        }
        let mut room = CAPACITY - peer.inbox.len();
        if room < wanted {
            this.blocked = true;
        }
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut written = 0;
        for slice in slices {
            let n = slice.len().min(room);
            peer.inbox.extend(&slice[..n]);
            room -= n;
            written += n;
        }
        world.post_state(self.connection, 1 - self.side);
        Ok(written)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        let mut world = self.net.0.lock();
        let Some(sides) = world.connections.get_mut(&self.connection) else {
            return;
        };
        if how != Shutdown::Read && !sides[self.side].finished {
            sides[self.side].finished = true;
            sides[1 - self.side].ended = true;
            world.post_state(self.connection, 1 - self.side);
        }
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        let mut world = self.net.0.lock();
        let sides = world.connections.get_mut(&self.connection)?;
        sides[self.side].error.take().map(os_error)
    }
}

impl Drop for MemEnd {
    fn drop(&mut self) {
        self.net.0.lock().close(self.connection, self.side);
    }
}

/// A listener in memory; dropping it closes it and resets what it has not accepted.
#[derive(Debug)]
pub(crate) struct MemListener {
    net: Arc<MemNet>,
    local: SocketAddr,
}

impl MemListener {
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn watch(&self, id: i32) {
        let mut world = self.net.0.lock();
        if let Some(listener) = world.listeners.get_mut(&self.local) {
            listener.watcher = Some(id);
            if !listener.waiting.is_empty() {
                let readiness = Readiness {
                    readable: true,
                    ..Readiness::default()
                };
                world.post(Some(id), readiness);
            }
        }
    }

    pub(crate) fn accept(&self) -> io::Result<(MemEnd, SocketAddr)> {
        let mut world = self.net.0.lock();
        let listener = world.listeners.get_mut(&self.local);
        let Some(connection) = listener.and_then(|l| l.waiting.pop_front()) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let Some(sides) = world.connections.get(&connection) else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        let (peer, local) = (sides[0].address, sides[1].address);
        let end = MemEnd {
            net: self.net.clone(),
            connection,
            side: 1,
            local,
            peer,
        };
        Ok((end, peer))
    }
}

impl Drop for MemListener {
    fn drop(&mut self) {
        let mut world = self.net.0.lock();
        let Some(listener) = world.listeners.remove(&self.local) else {
            return;
        };
        if let Some(id) = listener.watcher {
            world.events.retain(|(other, _)| *other != id);
        }
        for connection in listener.waiting {
            world.reset(connection, 0, libc::ECONNRESET);
            world.close(connection, 1);
        }
    }
}
