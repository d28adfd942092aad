//! Writing (spec/03-network.md §1.6).
//!
//! What a service sends during one dispatch is collected per socket and tried
//! when the dispatch ends: one system call. Threads outside a dispatch write at once.
//!
//! # Room
//! A write that is refused is followed by an event when there is room. The lost
//! wake-up would be: the writer is refused, the event comes and finds nothing
//! blocked, the writer then blocks for ever. So an event that meets a writer
//! (`busy`) leaves `room_seen`, which the writer cleared before its first call
//! and reads under the lock before it blocks: then it tries again. The first
//! time a socket blocks, the event is only asked for after the refusal, and
//! tells of room that is there by then.

use std::cell::RefCell;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::MutexGuard;
use skynet_core::current;

use crate::io::{Io, Watch};
use crate::net::Net;
use crate::os::error_text;
use crate::outbox::{COLLECT_LIMIT, Data, Outbox, Written};
use crate::socket::{Cx, Phase, Socket, State, kind};

/// What one socket may write in a row before others have their turn.
const WRITE_BUDGET: usize = 1 << 20;

/// Outboxes a thread keeps for its next writes, and sockets its list keeps room for.
const KEPT_OUTBOXES: usize = 16;
const KEPT_SOCKETS: usize = 1024;

/// A thread's collected sockets and spare parts.
struct Local {
    /// Tells threads apart; never 0.
    number: u32,
    /// Sockets to flush when the dispatch ends, with the net layer they belong to.
    sockets: Vec<(usize, Arc<Socket>)>,
    // Boxed because they move between here and the sockets.
    #[allow(clippy::vec_box)]
    outboxes: Vec<Box<Outbox>>,
}

thread_local! {
    static LOCAL: RefCell<Local> = {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        RefCell::new(Local {
            number: NEXT.fetch_add(1, Ordering::Relaxed).max(1),
            sockets: Vec::new(),
            outboxes: Vec::new(),
        })
    };
}

fn new_outbox() -> Box<Outbox> {
    LOCAL
        .with(|local| local.borrow_mut().outboxes.pop())
        .unwrap_or_default()
}

/// Keeps an outbox that holds nothing for the next write of this thread.
fn keep(outbox: Box<Outbox>) {
    LOCAL.with(|local| {
        let outboxes = &mut local.borrow_mut().outboxes;
        if outboxes.len() < KEPT_OUTBOXES {
            outboxes.push(outbox);
        }
    });
}

/// Puts the socket into this thread's list. `net` tells the layers of several nodes apart.
fn collect(net: usize, socket: &Arc<Socket>, state: &mut State) {
    LOCAL.with(|local| {
        let mut local = local.borrow_mut();
        if state.collected_by != local.number {
            state.collected_by = local.number;
            local.sockets.push((net, socket.clone()));
        }
    });
}

/// Writes what this thread has collected for the layer `net`.
pub(crate) fn flush_collected(net: usize, cx: Cx<'_>) {
    let mut sockets = LOCAL.with(|local| std::mem::take(&mut local.borrow_mut().sockets));
    sockets.retain(|(of, socket)| {
        if *of != net {
            return true;
        }
        let mut state = socket.state.lock();
        state.collected_by = 0;
        flush(cx, socket, &mut state);
        false
    });
    if sockets.capacity() > KEPT_SOCKETS {
        sockets.shrink_to(KEPT_SOCKETS);
    }
    LOCAL.with(|local| local.borrow_mut().sockets = sockets);
}

/// Sends; false if the data was refused. It is consumed either way.
pub(crate) fn send(net: &Net, socket: &Arc<Socket>, data: Data<'_>, low: bool) -> bool {
    let mut guard = socket.state.lock();
    let state = &mut *guard;
    if state.closing {
        // A low-priority send to a closing socket is dropped without a word.
        return low;
    }
    match state.phase {
        Phase::Gone => return false,
        Phase::Accepted | Phase::HalfWrite => return true,
        Phase::ListenPaused | Phase::Listening => {
            let line = format!("socket-server error: write to listen fd {}.", socket.id);
            net.with(|cx| cx.node.log(0, line.as_bytes()));
            return true;
        }
        Phase::Connecting | Phase::Connected | Phase::HalfRead | Phase::Bound => {}
    }
    let size = data.as_slice().len();
    if size == 0 {
        return true;
    }
    let out = state.out.get_or_insert_with(new_outbox);
    if state.busy || state.blocked || state.phase == Phase::Connecting {
        out.push_queued(data, low);
        net.with(|cx| state.count_queued(cx, socket.id, size));
        return true;
    }
    out.push_direct(data);
    if out.bytes() < COLLECT_LIMIT && current::at_dispatch_end(net.node()) {
        collect(net.key(), socket, state);
    } else {
        net.with(|cx| flush(cx, socket, &mut guard));
    }
    true
}

/// Writes what is unwritten, as far as the socket takes it.
pub(crate) fn flush(cx: Cx<'_>, socket: &Socket, state: &mut MutexGuard<'_, State>) {
    let mut budget = WRITE_BUDGET;
    while state.is_writable() && !state.busy && !state.blocked {
        let (Some(mut out), Some(io)) = (state.out.take(), state.io.clone()) else {
            return;
        };
        state.busy = true;
        state.room_seen = false;
        state.in_flight = out.bytes();
        let (end, written, counted) =
            MutexGuard::unlocked(state, || out.write_to(budget, |slices| io.write(slices)));
        drop(io);
        state.busy = false;
        state.in_flight = 0;
        if state.is_gone() {
            return;
        }
        budget -= written.min(budget);
        state.counted -= counted.min(state.counted);
        state.counters.written += written as u64;
        if written > 0 {
            state.counters.written_at = cx.node.now();
        }
        match end {
            Written::All => {
                keep(out);
                if state.out.is_none() {
                    drained(cx, socket.id, state);
                    return;
                }
            }
            Written::Blocked => {
                put_back(state, out);
                if !state.room_seen {
                    wait_for_room(cx, socket.id, state, false);
                }
            }
            Written::Budget => {
                put_back(state, out);
                wait_for_room(cx, socket.id, state, true);
            }
            Written::Failed(error) => {
                failed(cx, socket.id, state, &error_text(&error));
                return;
            }
        }
    }
}

/// What could not be written goes before what was queued meanwhile.
fn put_back(state: &mut State, mut out: Box<Outbox>) {
    if let Some(later) = state.out.take() {
        out.append(*later);
    }
    state.out = Some(out);
}

/// Waits for the event that there is room; `again`: there may be room already.
fn wait_for_room(cx: Cx<'_>, id: i32, state: &mut State, again: bool) {
    state.blocked = true;
    if !state.watch_write || again {
        state.watch_write = true;
        state.watch(cx, id, Watch::ReadWrite);
    }
}

/// Everything is written.
fn drained(cx: Cx<'_>, id: i32, state: &mut State) {
    if state.closing {
        state.release(cx, id);
        return;
    }
    state.counted = 0;
    if std::mem::take(&mut state.warn_at) != 0 {
        state.emit(cx, id, kind::WARNING, 0);
    }
}

/// A write has failed: nothing more can be written.
fn failed(cx: Cx<'_>, id: i32, state: &mut State, text: &str) {
    if state.closing || state.phase == Phase::HalfRead {
        state.release(cx, id);
        return;
    }
    state.phase = Phase::HalfWrite;
    state.out = None;
    state.counted = 0;
    if let Some(io) = &state.io {
        io.shutdown(Shutdown::Write);
    }
    state.emit_text(cx, id, kind::ERROR, 0, text);
}

/// The socket may have room again.
pub(crate) fn room(cx: Cx<'_>, socket: &Socket, state: &mut MutexGuard<'_, State>) {
    if state.busy {
        state.room_seen = true;
    } else if std::mem::take(&mut state.blocked) {
        flush(cx, socket, state);
    }
}

/// Writes what the system takes at once, whatever waits.
pub(crate) fn last_try(io: &Io, out: &mut Outbox) {
    let _ = out.write_to(usize::MAX, |slices| io.write(slices));
}
