//! The beginning of a service: `start`, `init_service`, `init`.

use std::ffi::c_int;

use skynet_core::ptype;

use super::death;
use super::state::special;
use super::tools::*;
use super::{answer, coro, lazy, sessions};
use crate::ffi::*;
use crate::vm::{Callback, Vm};

lua_functions! {
    /// `skynet.start(f)`
    pub(super) fn start(L, vm) {
        lua_settop(L, 1);
        let s = sched(vm);
        // The coroutine that will run `init_service(f)`; the arguments that a
        // timer gives come behind f and are ignored.
        lua_pushcfunction(L, init_service);
        lua_insert(L, 1);
        let index = coro::take(L, vm);
        let thread = (&(*s).coros)[index as usize].thread;
        lua_xmove(L, thread, 2);
        let session = coro::new_session(vm);
        (&mut (*s).coros)[index as usize].waiting = session;
        (*s).pending.insert(session, sessions::Waiter::new(sessions::Kind::Coro, index));
        (*s).init = index;
        (*vm).callback = Callback::Native;
        context(vm).timeout(0, session);
        if (*s).special & special::TIMERS != 0 {
            super::trace::timer(L, vm, session, 0);
        }
        0
    }

    /// `skynet.init_service(f)`
    pub(super) fn init_service(L, vm) {
        lua_settop(L, 1);
        let s = sched(vm);
        if (*s).init == super::state::NONE {
            (*s).init = (*s).running;
        }
        lua_pushcfunction(L, traceback);
        lua_pushcfunction(L, init_and_call);
        lua_pushvalue(L, 1);
        // f, handler, init_and_call, f
        let status = lua_pcallk(L, 1, 0, 2, 0, Some(started));
        finished(L, vm, status)
    }

    /// Runs what `skynet.init` has queued, then the function at index 1.
    fn init_and_call(L, vm) {
        lua_settop(L, 1);
        push_require_function(L, c"init_all");
        lua_callk(L, 0, 0, 0, Some(call_start));
        call_start(L, LUA_OK, 0)
    }

    /// `skynet.init(f)`
    pub(super) fn init(L, vm) {
        lua_settop(L, 1);
        push_require_function(L, c"init");
        lua_insert(L, 1);
        lua_callk(L, 1, 0, 0, Some(answer::all));
        0
    }

    /// The message handler of protected calls: the text with a traceback.
    pub(super) fn traceback(L, vm) {
        let text = luaL_tolstring(L, 1, std::ptr::null_mut());
        luaL_traceback(L, L, text, 1);
        1
    }
}

/// Pushes a function of module `skynet.require`.
unsafe fn push_require_function(L: *mut lua_State, name: &std::ffi::CStr) {
    // SAFETY: called by native functions with free slots.
    unsafe {
        lazy::push_loaded(L, c"skynet.require");
        lua_getfield(L, -1, name.as_ptr());
        lua_remove(L, -2);
    }
}

continuations! {
    fn call_start(L, vm, ctx) {
        lua_settop(L, 1);
        lua_callk(L, 0, 0, 0, Some(nothing_more));
        0
    }

    fn nothing_more(L, vm, ctx) {
        0
    }
}

#[allow(non_snake_case)]
unsafe extern "C-unwind" fn started(L: *mut lua_State, status: c_int, _: lua_KContext) -> c_int {
    // SAFETY: as in `continuations`; the status is what the call ended with.
    unsafe { finished(L, crate::vm::vm_of(L), status) }
}

/// The start function has ended.
unsafe fn finished(L: *mut lua_State, vm: *mut Vm, status: c_int) -> c_int {
    // SAFETY: called by a native function as its last act.
    unsafe {
        let s = sched(vm);
        (*s).init = super::state::NONE;
        if status == LUA_OK || status == LUA_YIELD {
            tell_launcher(L, vm, c"LAUNCHOK", None);
            return 0;
        }
        if lua_type(L, -1) != LUA_TSTRING {
            luaL_tolstring(L, -1, std::ptr::null_mut());
        }
        let cause = lua_gettop(L);
        lua_pushstring(L, c"init service failed: ".as_ptr());
        lua_pushvalue(L, cause);
        lua_concat(L, 2);
        // ..., cause, line
        context(vm).log(string_at(L, -1).unwrap_or_default());
        tell_launcher(L, vm, c"ERROR", Some(cause));
        lua_settop(L, 0);
        death::leave(L, vm)
    }
}

/// Sends a command of the protocol `lua` to the launcher; with the index of an error text, its essence too.
unsafe fn tell_launcher(
    L: *mut lua_State,
    vm: *mut Vm,
    command: &std::ffi::CStr,
    cause: Option<c_int>,
) {
    // SAFETY: called by a native function.
    unsafe {
        luaL_checkstack(L, 4, std::ptr::null());
        lua_pushstring(L, command.as_ptr());
        let first = lua_gettop(L);
        if let Some(text) = cause.and_then(|index| string_at(L, index)) {
            push_bytes(L, essence(text));
        }
        let start = pack(L, vm, first, lua_gettop(L));
        let payload = take_packed(vm, start);
        let _ = context(vm).send_name(b".launcher", context(vm).handle(), ptype::LUA, 0, payload);
        lua_settop(L, first - 1);
    }
}
