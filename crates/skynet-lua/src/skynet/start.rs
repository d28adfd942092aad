//! The beginning of a service: `start`, `init_service`, `init`.

use std::ffi::c_int;

use super::death;
use super::state::special;
use super::tools::*;
use super::{answer, coro, lazy, sessions};
use crate::ffi::*;
use crate::seri::value::Value;
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
        if status == LUA_OK || status == LUA_YIELD {
            (*s).init = super::state::NONE;
            tell_launcher(vm, b"LAUNCHOK", None);
            return 0;
        }
        // While `init` is set, an error here is a failure of the start, too.
        if lua_type(L, -1) != LUA_TSTRING {
            luaL_tolstring(L, -1, std::ptr::null_mut());
        }
        report(vm, string_at(L, -1).unwrap_or_default());
        (*s).init = super::state::NONE;
        lua_settop(L, 0);
        death::leave(L, vm)
    }
}

/// The coroutine of the start function died: there was no memory to run it, or
/// to report its error. The service ends.
#[cold]
pub(super) unsafe fn failed(L: *mut lua_State, vm: *mut Vm, thread: *mut lua_State, status: c_int) {
    // SAFETY: called by the scheduler with free slots; the error object is on
    // the top of the dead thread.
    unsafe {
        let text = match string_at(thread, -1) {
            Some(text) => text,
            None if status == LUA_ERRMEM => b"not enough memory",
            None => b"(the error object cannot be converted to a string)",
        };
        report(vm, text);
        (*sched(vm)).init = super::state::NONE;
        death::end(L, vm);
    }
}

/// Says in the log and to the launcher why the start failed. No Lua runs.
unsafe fn report(vm: *mut Vm, text: &[u8]) {
    // SAFETY: the caller vouches for vm.
    unsafe {
        context(vm).log([b"init service failed: ", text].concat());
        tell_launcher(vm, b"ERROR", Some(essence(text)));
    }
}

/// Sends a command of the protocol `lua` to the launcher; with an error text, it too.
unsafe fn tell_launcher(vm: *mut Vm, command: &[u8], cause: Option<&[u8]>) {
    let mut values = vec![Value::String(command.to_vec())];
    values.extend(cause.map(|cause| Value::String(cause.to_vec())));
    // SAFETY: the caller vouches for vm; no Lua runs.
    unsafe { death::tell_launcher(vm, &values) }
}
