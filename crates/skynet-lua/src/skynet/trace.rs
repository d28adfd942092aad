//! Tracing of requests (spec/02-lua-api.md §4.11) and `trace_timeout`.

use std::ffi::c_int;

use skynet_core::{Handle, Payload};

use super::call;
use super::state::{NONE, flag, special};
use super::tools::*;
use crate::ffi::*;
use crate::vm::Vm;

/// The most frames that a line shows.
const FRAMES: usize = 3;

/// Appends up to three Lua frames of `L` from `level` on, ` source:line` each.
unsafe fn frames(L: *mut lua_State, level: c_int, out: &mut Vec<u8>) {
    // SAFETY: lua_Debug is filled in by Lua; nothing here raises.
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        let mut level = level;
        let mut shown = 0;
        while shown < FRAMES && lua_getstack(L, level, &mut ar) != 0 {
            lua_getinfo(L, c"Sl".as_ptr(), &mut ar);
            if ar.currentline > 0 {
                if shown == 0 {
                    out.extend_from_slice(b" :");
                }
                out.push(b' ');
                out.extend_from_slice(std::slice::from_raw_parts(ar.source.cast(), ar.srclen));
                out.extend_from_slice(format!(":{}", ar.currentline).as_bytes());
                shown += 1;
            }
            level += 1;
        }
    }
}

/// Logs a line; `at` says where the frames begin.
unsafe fn log(vm: *mut Vm, tag: &[u8], text: &[u8], at: Option<(*mut lua_State, c_int)>) {
    // SAFETY: the caller vouches for vm and the thread; nothing here raises.
    unsafe {
        let context = context(vm);
        let mut line = b"<TRACE ".to_vec();
        line.extend_from_slice(tag);
        line.extend_from_slice(format!("> {} ", context.node().monotonic_ns()).as_bytes());
        line.extend_from_slice(text);
        if let Some((thread, level)) = at {
            frames(thread, level, &mut line);
        }
        context.log(line);
    }
}

/// Logs a line with the tag of a coroutine (if it has one), with the frames of
/// `L` from `level` on.
#[cold]
pub(super) unsafe fn line(
    L: *mut lua_State,
    vm: *mut Vm,
    index: u32,
    text: &[u8],
    level: Option<c_int>,
) {
    // SAFETY: the caller vouches for L and vm; nothing here raises.
    unsafe {
        let Some(cold) = &(*sched(vm)).cold else {
            return;
        };
        if let Some(tag) = cold.tags.get(&index) {
            log(vm, tag, text, level.map(|level| (L, level)));
        }
    }
}

/// Logs a line with the string at an index as tag.
#[cold]
pub(super) unsafe fn line_with_tag(L: *mut lua_State, vm: *mut Vm, index: c_int, text: &[u8]) {
    // SAFETY: as `line`.
    unsafe { log(vm, string_at(L, index).unwrap_or_default(), text, None) }
}

/// Before a request: logs `call`, sends the coroutine's tag to the address.
#[cold]
pub(super) unsafe fn ahead(L: *mut lua_State, vm: *mut Vm, address: c_int) {
    // SAFETY: as `line`; the tag is copied before anything else runs.
    unsafe {
        let index = (*sched(vm)).running;
        line(L, vm, index, b"call", Some(1));
        let target = target(L, address);
        let Some(cold) = &(*sched(vm)).cold else {
            return;
        };
        if let Some(tag) = cold.tags.get(&index) {
            send_to(
                context(vm),
                target,
                0,
                call::TRACE,
                0,
                Payload::from_slice(tag),
            );
        }
    }
}

/// Sends a tag to an address. Raises for an impossible address.
#[cold]
pub(super) unsafe fn send_tag(L: *mut lua_State, vm: *mut Vm, address: c_int, tag: &[u8]) {
    // SAFETY: as `line`.
    unsafe {
        let target = target(L, address);
        send_to(
            context(vm),
            target,
            0,
            call::TRACE,
            0,
            Payload::from_slice(tag),
        );
    }
}

/// The current message is a tag for the next request of its source.
#[cold]
pub(super) unsafe fn remember(vm: *mut Vm) {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let s = sched(vm);
        let tag: Box<[u8]> = current_bytes(vm).into();
        let source = (*s).current.source;
        (*s).cold().tag_of_source.insert(source, tag);
        (*s).special |= special::TAGS;
    }
}

/// Takes the tag that a source sent ahead.
pub(super) unsafe fn take(vm: *mut Vm, source: Handle) -> Option<Box<[u8]>> {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let s = sched(vm);
        let cold = (*s).cold.as_mut()?;
        let tag = cold.tag_of_source.remove(&source);
        if cold.tag_of_source.is_empty() {
            (*s).special &= !special::TAGS;
        }
        tag
    }
}

/// Settles how a request that begins is traced. `mode`: the field `trace` of its protocol.
#[cold]
pub(super) unsafe fn begin(L: *mut lua_State, vm: *mut Vm, index: u32, mode: Option<bool>) {
    // SAFETY: the caller vouches for L and vm; nothing here raises.
    unsafe {
        let s = sched(vm);
        let source = (&(*s).coros)[index as usize].source;
        let tag = take(vm, source);
        match (mode, tag) {
            (Some(false), _) => (&mut (*s).coros)[index as usize].flags |= flag::UNTRACED,
            (_, Some(tag)) => {
                (*s).cold().tags.insert(index, tag);
                (&mut (*s).coros)[index as usize].flags |= flag::TRACED;
                line(L, vm, index, b"request", None);
            }
            (Some(true), None) => {
                context(vm).log("TRACE nil");
                new_tag(vm, index);
                line(L, vm, index, b"trace", None);
            }
            (None, None) => {}
        }
    }
}

/// Gives a coroutine (or, with `NONE`, the main chunk) a tag of its own.
unsafe fn new_tag(vm: *mut Vm, index: u32) {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let s = sched(vm);
        let handle = context(vm).handle();
        let cold = (*s).cold();
        cold.last_tag += 1;
        let tag = format!(":{handle:08x}-{}", cold.last_tag);
        cold.tags.insert(index, tag.into_bytes().into());
        if index != NONE {
            (&mut (*s).coros)[index as usize].flags |= flag::TRACED;
        }
    }
}

/// Whether tracing is off for the running coroutine.
unsafe fn untraced(vm: *mut Vm) -> bool {
    // SAFETY: the caller vouches for vm.
    unsafe {
        (*sched(vm))
            .running()
            .is_some_and(|coro| coro.flags & flag::UNTRACED != 0)
    }
}

/// Records where a timer was made (`trace_timeout`).
pub(super) unsafe fn timer(L: *mut lua_State, vm: *mut Vm, session: i32, cs: i32) {
    // SAFETY: called by a native function; the traceback is on the stack for the copy.
    unsafe {
        luaL_traceback(L, L, std::ptr::null(), 1);
        let now = context(vm).node().now();
        let traceback = string_at(L, -1).unwrap_or_default();
        let mut text = format!("TIMER {now}+{cs} : \n").into_bytes();
        text.extend_from_slice(traceback);
        (*sched(vm))
            .cold()
            .timer_traces
            .insert(session, text.into());
        lua_settop(L, -2);
    }
}

lua_functions! {
    /// `skynet.trace([info])`
    pub(super) fn trace(L, vm) {
        lua_settop(L, 1);
        let s = sched(vm);
        let index = (*s).running;
        let mut text = b"trace".to_vec();
        if let Some(info) = string_at(L, 1) {
            text.push(b' ');
            text.extend_from_slice(info);
        }
        if untraced(vm) {
            context(vm).log("TRACE false");
            return 0;
        }
        let mut old = b"TRACE ".to_vec();
        let tag = match &(*s).cold {
            Some(cold) => cold.tags.get(&index),
            None => None,
        };
        old.extend_from_slice(tag.map_or(b"nil", |tag| tag));
        context(vm).log(old);
        new_tag(vm, index);
        line(L, vm, index, &text, None);
        0
    }

    /// `skynet.tracetag()`
    pub(super) fn tracetag(L, vm) {
        let s = sched(vm);
        let index = (*s).running;
        if untraced(vm) {
            lua_pushboolean(L, 0);
            return 1;
        }
        let tag: Option<&[u8]> = match &(*s).cold {
            Some(cold) => cold.tags.get(&index).map(|tag| &**tag),
            None => None,
        };
        match tag {
            Some(tag) => push_bytes(L, tag),
            None => lua_pushnil(L),
        }
        1
    }

    /// `skynet.trace_timeout(on)`
    pub(super) fn trace_timeout(L, vm) {
        let s = sched(vm);
        if lua_toboolean(L, 1) != 0 {
            (*s).special |= special::TIMERS;
        } else {
            (*s).special &= !special::TIMERS;
            (*s).cold().timer_traces.clear();
        }
        0
    }
}

/// Pushes the traceback of a pending session's coroutine, with what
/// `trace_timeout` knows of it.
pub(super) unsafe fn push_traceback(
    L: *mut lua_State,
    vm: *mut Vm,
    session: i32,
    thread: *mut lua_State,
) {
    // SAFETY: called by a native function with free slots.
    unsafe {
        let known: Option<&[u8]> = match &(*sched(vm)).cold {
            Some(cold) => cold.timer_traces.get(&session).map(|text| &**text),
            None => None,
        };
        if let Some(text) = known {
            push_bytes(L, text);
        } else {
            luaL_traceback(L, thread, std::ptr::null(), 0);
        }
    }
}
