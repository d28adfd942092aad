//! The native side of `skynet.request`: requests whose answers go to one Lua
//! function instead of the coroutine that sent them.

use std::ffi::c_int;

use super::coro;
use super::send::{class_id, pack_with, push_class, take};
use super::sessions::{Kind, Waiter, Watch};
use super::state::flag;
use super::tools::*;
use super::{call, trace};
use crate::ffi::*;
use crate::vm::Vm;

/// Place of the handler in the table of handlers.
const HANDLER: lua_Integer = 5;

/// As `index` of a waiter: what comes means that the request has failed.
pub(super) const FAILED: u32 = 1;

/// The coroutine that was to tell of an answer died for want of memory: another
/// one tells later that the request has failed. (If the first has told of the
/// answer after all, nobody asks for this.)
#[cold]
pub(super) unsafe fn again(vm: *mut Vm, session: i32) {
    // SAFETY: the caller vouches for vm.
    unsafe {
        (*sched(vm))
            .pending
            .insert(session, Waiter::new(Kind::Select, FAILED));
        context(vm).timeout(super::route::LATER, session);
    }
}

lua_functions! {
    /// `session()`: one to ask with. Who asks notes it before anything is sent,
    /// since there may be no memory to do it afterwards.
    pub(super) fn session(L, vm) {
        lua_pushinteger(L, lua_Integer::from(coro::new_session(vm)));
        1
    }

    /// `ask(session, addr, proto, ...)`: sends; false for a dead address.
    pub(super) fn ask(L, vm) {
        let session = luaL_checkinteger(L, 1) as i32;
        lua_rotate(L, 1, -1);
        lua_settop(L, -2);
        let last = lua_gettop(L);
        luaL_checkstack(L, 6, std::ptr::null());
        let class = push_class(L, vm, 2);
        let id = class_id(L, class);
        if call::is_traced(vm) {
            trace::ahead(L, vm, 1);
        }
        let packed = pack_with(L, vm, class, 3, last);
        let target = target(L, 1);
        let payload = take(L, vm, packed);
        if send_to(context(vm), target, 0, id, session, payload) != Sent::Yes {
            lua_pushboolean(L, 0);
            return 1;
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
        lua_pushboolean(L, 1);
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

lua_functions! {
    /// `wakeup(t)`: wakes who waits for the object.
    pub(super) fn wakeup(L, vm) {
        lua_settop(L, 1);
        wake(L, vm);
        0
    }
}

/// Readies a coroutine that is told of an answer (or, with false, of a
/// failure); returns it and the number of its arguments.
/// What is told of a failure is only that there was one. May raise (memory).
pub(super) unsafe fn start(L: *mut lua_State, vm: *mut Vm, session: i32, ok: bool) -> (u32, c_int) {
    // SAFETY: called by routing steps with free slots.
    unsafe {
        let s = sched(vm);
        let index = coro::take(L, vm);
        let place = &mut (&mut (*s).coros)[index as usize];
        place.session = session;
        place.flags = flag::SELECT;
        let thread = place.thread;
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

/// The time of the object in an anchor slot is over. Raises nothing: the field
/// exists, and its name is a constant of the code that made it.
pub(super) unsafe fn time_is_over(L: *mut lua_State, vm: *mut Vm, slot: u32) {
    // SAFETY: called by the routing step with free slots.
    unsafe {
        coro::push_anchored(L, vm, slot);
        coro::release(L, vm, slot);
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, c"over".as_ptr());
        wake(L, vm);
        coro::settle(L, vm);
    }
}

/// Sees to it that who waits with the token on the top goes on, and pops it.
/// Raises nothing: unlike `skynet.wakeup` it needs no memory of Lua.
unsafe fn wake(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: the caller vouches for L (two slots) and vm.
    unsafe {
        let s = sched(vm);
        if (*s).refs.sleepers != 0 {
            push_ref(L, (*s).refs.sleepers);
            lua_insert(L, -2);
            lua_rawget(L, -2);
            let session = lua_tointegerx(L, -1, std::ptr::null_mut()) as i32;
            if session != 0 {
                (*s).failed.push_back((session, None));
            }
            lua_settop(L, -2);
        }
        lua_settop(L, -2);
    }
}
