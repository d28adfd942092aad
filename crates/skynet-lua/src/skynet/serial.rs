//! Serial dispatch: the next request of a protocol waits until the current one
//! has finished, however often that one yields. Ours.
//!
//! A request that comes back to its own chain of calls would wait for itself.
//! So, in a node where any service is serial, every call notes which request it
//! was made for: (caller, session) -> (source, session) of that request. When a
//! request would have to wait, the chain is followed from its call upward; if
//! the serial request that runs is on it, the new one fails and says so.

use std::collections::{HashMap, VecDeque};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use skynet_core::{Handle, Payload};

use super::route;
use super::state::{Current, NONE, flag, special};
use super::tools::*;
use crate::ffi::*;
use crate::vm::Vm;

/// A call, as its caller and session.
type Call = (Handle, i32);

/// Which request the calls of a node's services were made for. Empty and
/// untouched as long as no service is serial.
#[derive(Debug, Default)]
pub(crate) struct CallGraph {
    used: AtomicBool,
    made_for: Mutex<HashMap<Call, Call>>,
}

/// A request that waits for its turn.
#[derive(Debug)]
struct Waiting {
    kind: u8,
    session: i32,
    source: Handle,
    payload: Payload,
}

/// State of the serial requests of a service.
#[derive(Debug, Default)]
pub(super) struct Serial {
    /// Protocols that are serial, by id.
    protocols: Vec<u8>,
    /// The coroutine that serves a serial request now.
    active: Option<u32>,
    waiting: VecDeque<Waiting>,
    /// The request that was waiting and is dispatched now.
    current: Option<Waiting>,
}

/// Whether calls must be noted.
#[inline]
pub(super) unsafe fn in_use(vm: *mut Vm) -> bool {
    // SAFETY: the caller vouches for vm, which holds its host.
    unsafe { (*vm).host().calls.used.load(Ordering::Relaxed) }
}

/// Notes for which request the running coroutine makes a call.
#[cold]
pub(super) unsafe fn note_call(vm: *mut Vm, session: i32) {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let me = context(vm).handle();
        let Some(coro) = (*sched(vm)).running() else {
            return;
        };
        if coro.flags & flag::REQUEST != 0 && coro.session != 0 {
            let request = (coro.source, coro.session);
            (*vm)
                .host()
                .calls
                .made_for
                .lock()
                .insert((me, session), request);
        }
    }
}

/// A call has ended.
#[cold]
pub(super) unsafe fn forget_call(vm: *mut Vm, session: i32) {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let me = context(vm).handle();
        (*vm).host().calls.made_for.lock().remove(&(me, session));
    }
}

impl CallGraph {
    /// The chain from a call up to the request that is its root, ending early at `until`.
    fn chain(&self, call: Call, until: Call) -> Option<Vec<Call>> {
        let made_for = self.made_for.lock();
        let mut chain = vec![call];
        let mut at = call;
        while at != until {
            at = *made_for.get(&at)?;
            if chain.contains(&at) {
                return None;
            }
            chain.push(at);
        }
        Some(chain)
    }
}

lua_functions! {
    /// `skynet.serial(proto [, on])`: requests of the protocol are served one
    /// after the other; the next begins when the current one's coroutine has
    /// ended. Returns whether they were before.
    pub(super) fn serial(L, vm) {
        lua_settop(L, 2);
        let on = lua_type(L, 2) == LUA_TNIL || lua_toboolean(L, 2) != 0;
        let class = super::send::push_class(L, vm, 1);
        let id = super::send::class_id(L, class);
        let s = sched(vm);
        (*vm).host().calls.used.store(true, Ordering::Relaxed);
        let protocols = &mut (*s).cold().serial.protocols;
        let at = protocols.iter().position(|&known| known == id);
        match (at, on) {
            (None, true) => protocols.push(id),
            (Some(at), false) => {
                protocols.remove(at);
            }
            _ => {}
        }
        (*s).special |= special::SERIAL;
        lua_pushboolean(L, c_int::from(at.is_some()));
        1
    }
}

/// Whether the current message was put aside because a serial request runs.
#[cold]
pub(super) unsafe fn must_wait(vm: *mut Vm) -> bool {
    // SAFETY: called by the routing step; nothing here raises.
    unsafe {
        let s = sched(vm);
        let current = (*s).current;
        let bytes = current_bytes(vm);
        let serial = &mut (*s).cold().serial;
        if serial.active.is_none() || !serial.protocols.contains(&current.kind) {
            return false;
        }
        let active = serial.active.unwrap_or(NONE);
        if current.session != 0
            && let Some(cause) = cycle(vm, active, (current.source, current.session))
        {
            reply_error(vm, current.source, current.session, cause.as_bytes());
            return true;
        }
        (*s).cold().serial.waiting.push_back(Waiting {
            kind: current.kind,
            session: current.session,
            source: current.source,
            payload: Payload::from_slice(bytes),
        });
        true
    }
}

/// The chain of calls by which a request would wait for itself, as text.
unsafe fn cycle(vm: *mut Vm, active: u32, call: Call) -> Option<String> {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let coro = (&(*sched(vm)).coros).get(active as usize).copied()?;
        let request = (coro.source, coro.session);
        let chain = (*vm).host().calls.chain(call, request)?;
        let me = context(vm).handle();
        let node = context(vm).node();
        let name = |handle: Handle| match node.name_of(handle) {
            Some(name) => format!(":{handle:08x} (.{})", String::from_utf8_lossy(&name)),
            None => format!(":{handle:08x}"),
        };
        // From the serial request outward, and back to the service.
        let mut text = String::from("serial dispatch would wait for itself: ");
        for (handle, _) in chain.iter().rev() {
            text.push_str(&name(*handle));
            text.push_str(" -> ");
        }
        text.push_str(&name(me));
        Some(text)
    }
}

/// A request begins; it may be a serial one.
#[cold]
pub(super) unsafe fn started(vm: *mut Vm, index: u32) {
    // SAFETY: called by the routing step.
    unsafe {
        let s = sched(vm);
        let kind = (*s).current.kind;
        let serial = &mut (*s).cold().serial;
        if serial.protocols.contains(&kind) {
            serial.active = Some(index);
            (&mut (*s).coros)[index as usize].flags |= flag::SERIAL;
        }
    }
}

/// The coroutine of the serial request has ended.
#[cold]
pub(super) unsafe fn finished(vm: *mut Vm) {
    // SAFETY: the caller vouches for vm.
    unsafe { (*sched(vm)).cold().serial.active = None }
}

/// Dispatches requests that waited, as long as none runs.
#[cold]
pub(super) unsafe fn run_waiting(vm: *mut Vm) {
    // SAFETY: called between messages; the request stays in the scheduler
    // while it is dispatched.
    unsafe {
        let s = sched(vm);
        loop {
            let serial = &mut (*s).cold().serial;
            if serial.active.is_some() || (*s).exited {
                break;
            }
            let Some(next) = serial.waiting.pop_front() else {
                break;
            };
            let next = serial.current.insert(next);
            (*s).current = Current {
                pointer: next.payload.as_ptr(),
                len: next.payload.len(),
                session: next.session,
                source: next.source,
                kind: next.kind,
                unanswered: false,
            };
            route::steps(vm, route::route_and_forks);
            (*s).cold().serial.current = None;
        }
        if (*s).exited {
            for waiting in std::mem::take(&mut (*s).cold().serial.waiting) {
                reply_error(
                    vm,
                    waiting.source,
                    waiting.session,
                    b"the service has exited",
                );
            }
        }
    }
}
