//! What becomes of one message (spec/02-lua-api.md §2.2).

use std::ffi::c_int;
use std::ptr::null_mut;

use skynet_core::{Context, Handle, Message, ptype};

use super::coro::{self, run};
use super::sessions::{Kind, Waiter, Watch};
use super::state::{Current, NONE, Scheduler, State, Wake, flag, special};
use super::tools::*;
use super::{ending, handlers, lib, select, serial, trace};
use crate::callback::memory_error;
use crate::external::push_payload;
use crate::ffi::*;
use crate::lib_core;
use crate::vm::Vm;

/// Centiseconds after which is done what found no memory.
pub(super) const LATER: i32 = 10;

/// One message for a service whose callback is native.
///
/// # Safety
/// `vm` is the service's VM and nothing else uses it now.
pub unsafe fn dispatch(vm: *mut Vm, context: &Context, mut message: Message) {
    // SAFETY: the caller vouches for vm. The message stays on this frame until
    // its dispatch is over; errors of Lua end in `protected`, below it.
    unsafe {
        let s = sched(vm);
        if (*s).exited {
            refuse_after_exit(context, &message);
            return;
        }
        (*s).current = Current {
            pointer: message.payload.as_ptr(),
            len: if message.payload.is_null() {
                0
            } else {
                message.payload.len()
            },
            session: message.session,
            source: message.source,
            kind: message.kind(),
            unanswered: false,
        };
        let size = message.payload.len();
        (*vm).current = &raw mut message.payload;
        let direct = message.kind() == ptype::RESPONSE
            && coro::answer_directly(vm, message.session, || steps(vm, rest));
        if !direct {
            steps(vm, route_and_forks);
        }
        if (*s).special & special::SERIAL != 0 {
            serial::run_waiting(vm);
        }
        (*vm).current = null_mut();
        (*s).current = Current::default();
        if !(*s).errors.is_empty() || (*s).memory_error {
            report(vm, context, &message, size);
        }
    }
}

/// Calls a step in protected mode. One that fails is a routing step that raised,
/// or ours that found no memory; then what is left in the queues is done. Each
/// round takes work off them, so this ends.
pub(super) unsafe fn steps(vm: *mut Vm, first: lua_CFunction) {
    let mut step = first;
    // SAFETY: the caller vouches for vm.
    unsafe {
        while !protected(vm, step) {
            step = forks_only;
        }
    }
}

/// After `skynet.exit`: requests are refused, the rest is dropped.
#[cold]
fn refuse_after_exit(context: &Context, message: &Message) {
    if message.kind() != ptype::RESPONSE && message.kind() != ptype::ERROR {
        let cause = format!("service :{:08x} has exited", context.handle());
        context.reply_error(message.source, message.session, cause.as_bytes());
    }
}

/// Calls a step in protected mode; false if it raised.
unsafe fn protected(vm: *mut Vm, step: lua_CFunction) -> bool {
    // SAFETY: the caller vouches for vm; between messages its main thread is
    // empty, so there are free slots.
    unsafe {
        let L = (*vm).main;
        let top = lua_gettop(L);
        lua_pushcfunction(L, step);
        let status = lua_pcallk(L, 0, 0, 0, 0, None);
        if status == LUA_OK {
            return true;
        }
        failed(vm, L, status);
        lua_settop(L, top);
        false
    }
}

/// The routing of a message raised: malformed request, failing `unpack`, no memory.
#[cold]
unsafe fn failed(vm: *mut Vm, L: *mut lua_State, status: c_int) {
    // SAFETY: the error object is on the top; nothing here raises: only
    // strings and numbers are converted in place, and a failed conversion of a
    // number is a memory error inside... so only strings are read.
    unsafe {
        let s = sched(vm);
        let text = string_at(L, -1).unwrap_or(b"(error object is not a string)");
        if status == LUA_ERRMEM {
            (*s).memory_error = true;
            let session = (*s).current.session;
            if (*s).current.kind == ptype::RESPONSE
                && let Some(waiter) = (*s).pending.get(session)
                && waiter.kind == Kind::Timer
            {
                // It could not begin; its message comes once more.
                context(vm).timeout(LATER, session);
                (*s).current.session = 0;
            }
        } else {
            ending::add_error(vm, text);
        }
        let current = (*s).current;
        if current.unanswered {
            (*s).current.unanswered = false;
            let cause = format!(
                ":{:08x}: {}",
                context(vm).handle(),
                String::from_utf8_lossy(essence(text))
            );
            context(vm).reply_error(current.source, current.session, cause.as_bytes());
        }
    }
}

/// Logs what failed while a message was dispatched.
#[cold]
unsafe fn report(vm: *mut Vm, context: &Context, message: &Message, size: usize) {
    // SAFETY: the caller vouches for vm; no Lua runs here.
    unsafe {
        let s = sched(vm);
        let errors = std::mem::take(&mut (*s).errors);
        let (source, me, session) = (message.source, context.handle(), message.session);
        if std::mem::take(&mut (*s).memory_error) {
            context.log(memory_error(vm, context, source, session));
            if coro::has_more(vm) && !(*s).exited {
                // No message need come that would take it along.
                (*s).forks.push_back(NONE);
                let session = coro::new_session(vm);
                (*s).pending.insert(session, Waiter::new(Kind::Break, 0));
                context.timeout(LATER, session);
            }
        }
        if !errors.is_empty() {
            let mut line = format!(
                "lua call [{source:x} to :{me:x} : {session} msgsz = {size}] error : \x1b[31m"
            )
            .into_bytes();
            line.extend_from_slice(&errors);
            line.extend_from_slice(b"\x1b[0m");
            context.log(line);
        }
    }
}

lua_functions! {
    pub(super) fn route_and_forks(L, vm) {
        if (*sched(vm)).special & special::HOOK != 0 {
            handlers::call_hook(L, vm);
        }
        route(L, vm);
        coro::drain_forks(L, vm);
        0
    }

    fn rest(L, vm) {
        coro::take_rest(L, vm);
        0
    }

    fn forks_only(L, vm) {
        coro::drain_forks(L, vm);
        0
    }

    /// `skynet.dispatch_message(type, msg, sz, session, source)`: the callback
    /// as a function, for code that puts something in front of it.
    pub(super) fn dispatch_message(L, vm) {
        let s = sched(vm);
        let outer = (*s).current;
        let len = lua_tointegerx(L, 3, null_mut()).max(0) as usize;
        let mut bytes = lua_touserdata(L, 2).cast_const().cast::<u8>();
        let mut size = if bytes.is_null() { 0 } else { len };
        if let Some(text) = string_at(L, 2) {
            bytes = text.as_ptr();
            size = text.len();
        }
        (*s).current = Current {
            pointer: bytes,
            len: size,
            kind: luaL_checkinteger(L, 1) as u8,
            session: luaL_optinteger(L, 4, 0) as i32,
            source: luaL_optinteger(L, 5, 0) as u32,
            unanswered: false,
        };
        lua_pushcfunction(L, if (*s).exited { refuse_exited } else { route_and_forks });
        let status = lua_pcallk(L, 0, 0, 0, 0, None);
        if status != LUA_OK {
            failed(vm, L, status);
            // What was queued for the end of this message still runs.
            lua_settop(L, 0);
            lua_pushcfunction(L, forks_only);
            let status = lua_pcallk(L, 0, 0, 0, 0, None);
            if status != LUA_OK {
                failed(vm, L, status);
            }
        }
        (*s).current = outer;
        let errors = &raw mut (*s).errors;
        if !(*errors).is_empty() {
            lua_settop(L, 0);
            push_bytes(L, &*errors);
            (*errors).clear();
            lua_error(L);
        }
        if std::mem::take(&mut (*s).memory_error) {
            lua_pushstring(L, c"not enough memory".as_ptr());
            lua_error(L);
        }
        0
    }

    fn refuse_exited(L, vm) {
        let current = (*sched(vm)).current;
        if current.kind != ptype::RESPONSE && current.kind != ptype::ERROR {
            reply_error(vm, current.source, current.session, b"the service has exited");
        }
        0
    }
}

/// Routes `Scheduler::current`. May raise: then nothing has taken it over.
#[inline]
pub(super) unsafe fn route(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: called by a C function on a thread that is not a framework
    // coroutine, in protected mode.
    unsafe {
        if (*sched(vm)).current.kind == ptype::RESPONSE {
            answer(L, vm);
        } else {
            request(L, vm);
        }
    }
}

/// An answer or a timer.
#[inline]
unsafe fn answer(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: as `route`.
    unsafe {
        let s: *mut Scheduler = sched(vm);
        let session = (*s).current.session;
        let Some(waiter) = (*s).pending.remove(session) else {
            handlers::unknown_response(L, vm);
            return;
        };
        match waiter.kind {
            Kind::Coro => {
                (*s).forget(session);
                let state = (&(*s).coros)[waiter.index as usize].state;
                if state == State::Fresh {
                    first_run(L, vm, waiter.index);
                } else if coro::is_waiting(vm, waiter.index, session) {
                    (*s).wake = Wake::Answer;
                    run(L, vm, waiter.index, 0);
                }
            }
            Kind::Timer => {
                // Without memory for the coroutine it is tried again later.
                if (&(*s).pool).is_empty() {
                    (*s).pending.insert(session, waiter);
                }
                if (*s).special & special::TIMERS != 0 {
                    (*s).forget(session);
                }
                let index = start_timer(L, vm, waiter.index);
                (*s).pending.remove(session);
                first_run(L, vm, index);
            }
            Kind::Break | Kind::Wait => (*s).forget(session),
            Kind::Alarm => select::time_is_over(L, vm, waiter.index),
            Kind::Select => {
                (*s).forget(session);
                // Without memory for the coroutine the request has failed.
                (*s).pending.insert(session, waiter);
                (*s).failed.push_back((session, None));
                let ok = waiter.index != select::FAILED;
                let (index, nargs) = select::start(L, vm, session, ok);
                (*s).failed.pop_back();
                (*s).pending.remove(session);
                run(L, vm, index, nargs);
            }
            Kind::Deadline => {
                let call = waiter.watch as i32;
                if let Some(waiting) = (*s).pending.get(call)
                    && coro::is_waiting(vm, waiting.index, call)
                {
                    (*s).pending.insert(call, waiting.broken());
                    (*s).wake = Wake::Deadline;
                    run(L, vm, waiting.index, 0);
                }
            }
        }
    }
}

/// Makes the coroutine of a timer that waited as a function in an anchor slot.
pub(super) unsafe fn start_timer(L: *mut lua_State, vm: *mut Vm, slot: u32) -> u32 {
    // SAFETY: as `route`.
    unsafe {
        let index = coro::take(L, vm);
        let thread = (&(*sched(vm)).coros)[index as usize].thread;
        coro::push_anchored(L, vm, slot);
        lua_xmove(L, thread, 1);
        coro::release(L, vm, slot);
        index
    }
}

/// Runs a timer's coroutine, with the arguments upstream gives (spec §4.5).
unsafe fn first_run(L: *mut lua_State, vm: *mut Vm, index: u32) {
    // SAFETY: as `route`; a fresh coroutine has LUA_MINSTACK slots.
    unsafe {
        let s = sched(vm);
        let thread = (&(*s).coros)[index as usize].thread;
        lua_pushboolean(thread, 1);
        push_current(thread, vm);
        lua_pushinteger(thread, lua_Integer::from((*s).current.session));
        run(L, vm, index, lua_gettop(thread) - 1);
    }
}

/// Everything else: a request, a notice, an error.
#[inline]
unsafe fn request(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: as `route`.
    unsafe {
        let s = sched(vm);
        let current = (*s).current;
        (*s).current.unanswered = current.session != 0 && current.kind != ptype::ERROR;
        push_ref(L, (*s).refs.proto);
        if lua_rawgeti(L, -1, lua_Integer::from(current.kind)) == LUA_TNIL {
            if current.kind == ptype::TRACE {
                (*s).current.unanswered = false;
                trace::remember(vm);
            } else if current.session != 0 {
                let why = format!("no protocol with id {}", current.kind);
                (*s).current.unanswered = false;
                reply_error(vm, current.source, current.session, why.as_bytes());
            } else {
                lua_pushinteger(L, lua_Integer::from(current.kind));
                handlers::unknown_request(L, vm);
            }
            return;
        }
        // proto, class
        let class = lua_gettop(L);
        if lua_getfield(L, class, c"dispatch".as_ptr()) == LUA_TNIL {
            if (*s).special & special::TAGS != 0 {
                trace::take(vm, current.source);
            }
            lua_getfield(L, class, c"name".as_ptr());
            if current.session != 0 {
                no_dispatch(L, vm, current.source, current.session);
            } else {
                handlers::unknown_request(L, vm);
            }
            return;
        }
        if current.kind == ptype::ERROR && is_native(L, -1, lib::error_dispatch) {
            fail_calls(vm, current.source, current.session, current_bytes(vm));
            coro::settle(L, vm);
            return;
        }
        if (*s).special & special::SERIAL != 0 && serial::must_wait(vm) {
            (*s).current.unanswered = false;
            return;
        }
        let count = arguments(L, vm, class);
        start_request(L, vm, class, count);
    }
}

#[cold]
unsafe fn no_dispatch(L: *mut lua_State, vm: *mut Vm, source: Handle, session: i32) {
    // SAFETY: as `route`; the name is on the top.
    unsafe {
        lua_pushstring(L, c"no dispatch function for protocol ".as_ptr());
        lua_insert(L, -2);
        if lua_type(L, -1) != LUA_TSTRING {
            lua_settop(L, -2);
            lua_pushstring(L, c"?".as_ptr());
        }
        lua_concat(L, 2);
        (*sched(vm)).current.unanswered = false;
        reply_error(vm, source, session, string_at(L, -1).unwrap_or_default());
    }
}

/// With the dispatch function on the top, pushes it once more, session, source
/// and what `unpack` makes of the message. Returns how many of these are arguments.
#[inline]
unsafe fn arguments(L: *mut lua_State, vm: *mut Vm, class: c_int) -> c_int {
    // SAFETY: as `route`.
    unsafe {
        let current = (*sched(vm)).current;
        lua_pushvalue(L, -1);
        lua_pushinteger(L, lua_Integer::from(current.session));
        lua_pushinteger(L, lua_Integer::from(current.source));
        let kind = lua_getfield(L, class, c"unpack".as_ptr());
        if kind == LUA_TFUNCTION && is_native(L, -1, lib::unpack) {
            lua_settop(L, -2);
            return 2 + unpack(L, current_bytes(vm));
        }
        if kind == LUA_TFUNCTION && is_native(L, -1, lib_core::tostring) && current.len != 0 {
            let payload = (*vm).current;
            // Not where code in front of the dispatch passes on bytes of its own.
            if !payload.is_null() && std::ptr::eq((*payload).as_ptr(), current.pointer) {
                lua_settop(L, -2);
                // The bytes may be Lua's from here on.
                (*sched(vm)).current.pointer = std::ptr::null();
                (*sched(vm)).current.len = 0;
                push_payload(L, vm, payload);
                return 3;
            }
        }
        if kind == LUA_TNIL {
            fail(L, b"attempt to call a nil value (field 'unpack')");
        }
        let base = lua_gettop(L) - 1;
        push_current(L, vm);
        lua_callk(L, 2, LUA_MULTRET, 0, None);
        2 + lua_gettop(L) - base
    }
}

/// Moves function (twice) and arguments from the top of `L` to a coroutine and runs it.
#[inline]
unsafe fn start_request(L: *mut lua_State, vm: *mut Vm, class: c_int, count: c_int) {
    // SAFETY: as `route`.
    unsafe {
        let s = sched(vm);
        let current = (*s).current;
        if lua_checkstack(L, 4) == 0 {
            fail(L, b"stack overflow");
        }
        let traced = lua_getfield(L, class, c"trace".as_ptr());
        let on = lua_toboolean(L, -1) != 0;
        lua_settop(L, -2);
        let index = coro::take(L, vm);
        let thread = (&(*s).coros)[index as usize].thread;
        if !coro::has_room(thread, count + 4) {
            coro::give_back(vm, index);
            fail(L, b"stack overflow");
        }
        lua_xmove(L, thread, count + 2);
        // From here on the coroutine owes the answer.
        (*s).current.unanswered = false;
        let place = &mut (&mut (*s).coros)[index as usize];
        place.session = current.session;
        place.source = current.source;
        place.flags = flag::REQUEST | flag::OWES;
        if traced != LUA_TNIL || (*s).special & special::TAGS != 0 {
            let mode = (traced != LUA_TNIL).then_some(on);
            trace::begin(L, vm, index, mode);
        }
        if (*s).special & special::SERIAL != 0 {
            serial::started(vm, index);
        }
        run(L, vm, index, count);
    }
}

/// A failure: of one call, or (session 0) of everything asked of `source`
/// (spec/02-lua-api.md §5).
///
/// The sender of an error about one session is not compared with the callee:
/// a request that a gate or proxy redirects is answered, and refused, by
/// another service than the one that was called.
pub(super) unsafe fn fail_calls(vm: *mut Vm, source: Handle, session: i32, cause: &[u8]) {
    // SAFETY: the caller vouches for vm; no Lua runs here.
    unsafe {
        let s = sched(vm);
        let cause = (!cause.is_empty()).then(|| Box::<[u8]>::from(cause));
        if session != 0 {
            if let Some(waiter) = (*s).pending.get(session) {
                if waiter.kind == Kind::Break && waiter.watching != Watch::No {
                    (*s).pending.remove(session);
                    (*s).forget(session);
                } else if waiter.watching != Watch::No {
                    (*s).failed.push_back((session, cause));
                }
            }
            return;
        }
        if let Some(cold) = &mut (*s).cold {
            cold.responses
                .retain(|_, response| response.source != source);
        }
        let mut hit: Vec<i32> = (*s)
            .pending
            .iter()
            .filter(|(_, w)| w.watching == Watch::Number && w.watch == source)
            .map(|(session, _)| session)
            .collect();
        hit.sort_unstable();
        for session in hit {
            (*s).failed.push_back((session, cause.clone()));
        }
    }
}

/// The same for an address that was given as a string.
pub(super) unsafe fn fail_calls_by_name(vm: *mut Vm, name: &[u8]) {
    // SAFETY: as `fail_calls`.
    unsafe {
        let s = sched(vm);
        let mut hit: Vec<i32> = match &(*s).cold {
            Some(cold) => cold
                .names
                .iter()
                .filter(|(_, given)| ***given == *name)
                .map(|(&session, _)| session)
                .collect(),
            None => return,
        };
        hit.sort_unstable();
        for session in hit {
            (*s).failed.push_back((session, None));
        }
    }
}
