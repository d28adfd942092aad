//! What to do when a socket is ready: read, accept, finish a connection, hang up
//! (spec/03-network.md §1.7, §1.8, §1.10).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::MutexGuard;

use crate::io::{Io, Readiness, Watch};
use crate::os::{Reserve, error_text, is_out_of_descriptors};
use crate::resolve::NO_PORT;
use crate::socket::{Cx, FIRST_READ, Phase, Socket, State, kind};
use crate::write;

/// Reads never get larger than this.
const LARGEST_READ: u32 = 128 * 1024;
/// What is read from one socket in a row before others have their turn.
const READ_BUDGET: usize = 256 * 1024;
/// Connections accepted in a row before others have their turn.
const ACCEPT_BUDGET: usize = 64;

/// What is left after an event was dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing until the next event.
    Nothing,
    /// More of the same, when others had their turn.
    More(Readiness),
    /// A listener that can only go on when a descriptor was freed somewhere.
    Later,
}

/// Deals with an event. Only one thread, that of the events, may be in here.
pub(crate) fn handle(
    cx: Cx<'_>,
    reserve: &mut Reserve,
    socket: &Arc<Socket>,
    ready: Readiness,
) -> Left {
    let mut state = socket.state.lock();
    match state.phase {
        Phase::Gone | Phase::ListenPaused => Left::Nothing,
        Phase::Listening => accept(cx, reserve, socket, &mut state),
        Phase::Connecting => {
            finish_connect(cx, socket, &mut state);
            Left::Nothing
        }
        Phase::Accepted | Phase::Connected | Phase::HalfRead | Phase::HalfWrite | Phase::Bound => {
            stream(cx, socket, &mut state, ready)
        }
    }
}

fn stream(
    cx: Cx<'_>,
    socket: &Socket,
    state: &mut MutexGuard<'_, State>,
    ready: Readiness,
) -> Left {
    let id = socket.id;
    let incoming = ready.readable || ready.read_closed;
    if incoming && read(cx, socket, state, ready) {
        return Left::More(ready);
    }
    if ready.writable {
        write::room(cx, socket, state);
    }
    if ready.error
        && !state.is_gone()
        && !state.closing
        && let Some(error) = state.io.as_ref().and_then(Io::take_error)
    {
        state.emit_text(cx, id, kind::ERROR, 0, &error_text(&error));
    }
    if ready.hangup && !state.is_gone() {
        state.emit_close(cx, id);
        state.release(cx, id);
    }
    Left::Nothing
}

/// Reads what there is; true if the budget ended it.
fn read(cx: Cx<'_>, socket: &Socket, state: &mut MutexGuard<'_, State>, ready: Readiness) -> bool {
    let id = socket.id;
    let mut budget = READ_BUDGET;
    while state.reading {
        let Some(io) = state.io.clone() else { break };
        let size = state.read_size;
        let result = MutexGuard::unlocked(state, || io.read(size as usize));
        if state.is_gone() || state.phase == Phase::HalfRead {
            // Closed meanwhile: nobody wants the data.
            break;
        }
        let block = match result {
            Ok(block) => block,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => {
                state.emit_text(cx, id, kind::ERROR, 0, &error_text(&e));
                break;
            }
        };
        let n = block.as_slice().len();
        if n == 0 {
            end_of_stream(cx, id, state);
            break;
        }
        state.counters.read += n as u64;
        state.counters.read_at = cx.node.now();
        state.emit_data(cx, id, block);
        let full = n == size as usize;
        if full {
            state.read_size = (size * 2).min(LARGEST_READ);
        } else if size > FIRST_READ && 2 * n < size as usize {
            state.read_size = (size / 2).max(FIRST_READ);
        }
        // A short read has emptied the socket: what comes later is a new event,
        // but the end of the stream that this event told of is still to be read.
        if !full && !ready.read_closed {
            break;
        }
        budget = budget.saturating_sub(n);
        if budget == 0 && state.reading {
            return true;
        }
    }
    false
}

/// The peer sends no more.
fn end_of_stream(cx: Cx<'_>, id: i32, state: &mut State) {
    state.reading = false;
    state.emit_close(cx, id);
    if state.phase == Phase::HalfWrite {
        state.release(cx, id);
    } else if !state.is_gone() {
        state.phase = Phase::HalfRead;
    }
}

// ---- connecting ----

/// Tries the addresses that are left; ERROR and the end when none is.
pub(crate) fn connect_next(cx: Cx<'_>, socket: &Socket, state: &mut State, mut failure: String) {
    while let Some(address) = state.attempt.as_mut().and_then(|a| a.addresses.pop()) {
        match cx.backend.connect(address) {
            Ok(io) => {
                if state.nodelay {
                    io.set_nodelay();
                }
                state.io = Some(io);
                state.watched = false;
                if !state.watch(cx, socket.id, Watch::Connect) {
                    state.release(cx, socket.id);
                }
                return;
            }
            Err(error) => failure = error_text(&error),
        }
    }
    state.emit_text(cx, socket.id, kind::ERROR, 0, &failure);
    state.release(cx, socket.id);
}

/// A name has been looked up for `connect`.
pub(crate) fn resolved(cx: Cx<'_>, socket: &Socket, result: Result<Vec<SocketAddr>, String>) {
    let mut state = socket.state.lock();
    if state.phase != Phase::Connecting {
        return;
    }
    let failure = match result {
        Ok(mut addresses) => {
            addresses.reverse();
            state.attempt = Some(Box::new(crate::socket::Attempt { addresses }));
            NO_PORT.to_owned()
        }
        Err(text) => text,
    };
    connect_next(cx, socket, &mut state, failure);
}

fn finish_connect(cx: Cx<'_>, socket: &Socket, state: &mut MutexGuard<'_, State>) {
    let id = socket.id;
    let Some(io) = state.io.clone() else { return };
    if let Some(error) = io.take_error() {
        state.io = None;
        drop(io);
        connect_next(cx, socket, state, error_text(&error));
        return;
    }
    let Some(peer) = io.peer() else {
        // Neither failed nor connected: an event of before.
        return;
    };
    state.attempt = None;
    state.phase = Phase::Connected;
    state.emit_text(cx, id, kind::CONNECT, 0, &peer.ip().to_string());
    if state.is_gone() {
        return;
    }
    state.watch_read(cx, id);
    write::flush(cx, socket, state);
}

// ---- accepting ----

fn accept(
    cx: Cx<'_>,
    reserve: &mut Reserve,
    listener: &Socket,
    state: &mut MutexGuard<'_, State>,
) -> Left {
    for _ in 0..ACCEPT_BUDGET {
        if state.phase != Phase::Listening || !state.reading {
            return Left::Nothing;
        }
        let Some(io) = state.io.clone() else {
            return Left::Nothing;
        };
        let result = MutexGuard::unlocked(state, || io.accept());
        if state.is_gone() {
            return Left::Nothing;
        }
        match result {
            Ok((io, peer)) => accepted(cx, listener, state, io, peer),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Left::Nothing,
            Err(e) if is_out_of_descriptors(&e) => {
                let text = error_text(&e);
                let refused = MutexGuard::unlocked(state, || reserve.refuse_one(&io));
                if state.is_gone() {
                    return Left::Nothing;
                }
                if !refused {
                    // The reserve could not be had back the last time.
                    return Left::Later;
                }
                state.emit_text(cx, listener.id, kind::ERROR, 0, &text);
            }
            // The connection is gone already (aborted, refused by a filter): the next one.
            Err(e) if is_about_one_connection(&e) => {}
            Err(_) => return Left::Later,
        }
    }
    Left::More(Readiness {
        readable: true,
        ..Readiness::default()
    })
}

/// Errors of accept that concern only the connection it would have returned.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
        )
    )
}

fn accepted(cx: Cx<'_>, listener: &Socket, state: &mut State, io: Io, peer: SocketAddr) {
    state.counters.read += 1;
    state.counters.read_at = cx.node.now();
    let owner = state.owner;
    let socket = cx
        .table
        .insert(|id| Socket::with_io(id, owner, Phase::Accepted, io.clone()));
    // Events come on this thread, and nobody knows the id yet; but it can be guessed.
    let mut new = socket.state.lock();
    if new.is_gone() {
        return;
    }
    let watched = cx.backend.watch(&io, socket.id, true, Watch::Quiet);
    drop(io);
    if watched.is_err() {
        new.release(cx, socket.id);
        state.emit_text(cx, listener.id, kind::ERROR, 0, crate::net::LIMIT);
        return;
    }
    new.watched = true;
    drop(new);
    let address = address_text(peer);
    state.emit_text(cx, listener.id, kind::ACCEPT, socket.id, &address);
    if state.is_gone() {
        // Nobody will ever start it.
        socket.state.lock().release(cx, socket.id);
    }
}

/// `ip:port`, IPv6 without brackets.
pub(crate) fn address_text(address: SocketAddr) -> String {
    format!("{}:{}", address.ip(), address.port())
}
