//! The native side of `skynet.request`: requests whose answers go to one Lua
//! function instead of the coroutine that sent them.

use std::ffi::c_int;

use super::coro;
use super::send::{class_id, pack_with, push_class, take};
use super::sessions::{Kind, Waiter, Watch};
use super::tools::*;
use super::{call, trace};
use crate::ffi::*;
use crate::vm::Vm;

/// Place of the handler in the table of handlers.
const HANDLER: lua_Integer = 5;

lua_functions! {
    /// `ask(addr, proto, ...)`: sends; the session, or nothing for a dead address.
    pub(super) fn ask(L, vm) {
        let last = lua_gettop(L);
        luaL_checkstack(L, 6, std::ptr::null());
        let class = push_class(L, vm, 2);
        let id = class_id(L, class);
        if call::is_traced(vm) {
            trace::ahead(L, vm, 1);
        }
        let packed = pack_with(L, vm, class, 3, last);
        let target = target(L, 1);
        let session = coro::new_session(vm);
        let payload = take(L, vm, packed);
        if send_to(context(vm), target, 0, id, session, payload) != Sent::Yes {
            return 0;
        }
        let s = sched(vm);
        let mut waiter = Waiter::new(Kind::Select, 0);
        match target {
            Target::Handle(handle) => {
                waiter.watching = Watch::Number;
                waiter.watch = handle;
            }
            Target::Name(name) => {
                waiter.watching = Watch::Name;
                (*s).cold().names.insert(session, name.into());
            }
        }
        (*s).pending.insert(session, waiter);
        lua_pushinteger(L, lua_Integer::from(session));
        1
    }

    /// `on_answer(f)`: `f(session, true, msg, sz)` or `f(session, false)` is
    /// called, in a coroutine of its own, for every answer.
    pub(super) fn on_answer(L, vm) {
        luaL_checktype(L, 1, LUA_TFUNCTION);
        push_table(L, &raw mut (*sched(vm)).refs.handlers, false);
        lua_pushvalue(L, 1);
        lua_rawseti(L, -2, HANDLER);
        0
    }
}

/// Readies a coroutine that is told of an answer (or, with false, of a
/// failure); returns it and the number of its arguments.
unsafe fn prepare(L: *mut lua_State, vm: *mut Vm, session: i32, ok: bool) -> (u32, c_int) {
    // SAFETY: called by routing steps with free slots.
    unsafe {
        let s = sched(vm);
        let index = coro::take(L, vm);
        let thread = (&(*s).coros)[index as usize].thread;
        push_ref(L, (*s).refs.handlers);
        lua_rawgeti(L, -1, HANDLER);
        lua_xmove(L, thread, 1);
        lua_settop(L, -2);
        lua_pushinteger(thread, lua_Integer::from(session));
        lua_pushboolean(thread, c_int::from(ok));
        if ok {
            push_current(thread, vm);
            return (index, 4);
        }
        (index, 2)
    }
}

/// The answer is the current message.
pub(super) unsafe fn start_with_answer(
    L: *mut lua_State,
    vm: *mut Vm,
    session: i32,
) -> (u32, c_int) {
    // SAFETY: as `prepare`.
    unsafe { prepare(L, vm, session, true) }
}

/// The request failed.
pub(super) unsafe fn start(
    L: *mut lua_State,
    vm: *mut Vm,
    session: i32,
    cause: Option<Box<[u8]>>,
) -> (u32, c_int) {
    // What it was has no place in the interface of `select`.
    drop(cause);
    // SAFETY: as `prepare`.
    unsafe { prepare(L, vm, session, false) }
}
