//! Functions that a service may put in the place of the scheduler's own:
//! for messages that nobody expects, for the debug command INFO, and the
//! debugger's look at every message.

use std::ffi::c_int;

use super::state::special;
use super::tools::*;
use crate::ffi::*;
use crate::vm::Vm;

/// Places in the table of handlers.
mod place {
    pub(super) const REQUEST: i64 = 1;
    pub(super) const RESPONSE: i64 = 2;
    pub(super) const INFO: i64 = 3;
    pub(super) const HOOK: i64 = 4;
}

/// Pushes a handler, nil if there is none. Slots: 2.
unsafe fn push_handler(L: *mut lua_State, vm: *mut Vm, place: i64) -> c_int {
    // SAFETY: the caller vouches for L and vm.
    unsafe {
        let table = (*sched(vm)).refs.handlers;
        if table == 0 {
            lua_pushnil(L);
            return LUA_TNIL;
        }
        push_ref(L, table);
        let kind = lua_rawgeti(L, -1, place);
        lua_remove(L, -2);
        kind
    }
}

/// Puts the function at index 1 (or nil) in a place and returns what was there.
unsafe fn exchange(L: *mut lua_State, vm: *mut Vm, place: i64) -> c_int {
    // SAFETY: called by a native function.
    unsafe {
        lua_settop(L, 1);
        push_handler(L, vm, place);
        push_table(L, &raw mut (*sched(vm)).refs.handlers, false);
        lua_pushvalue(L, 1);
        lua_rawseti(L, -2, place);
        lua_settop(L, -2);
        1
    }
}

lua_functions! {
    /// `skynet.dispatch_unknown_request(f)`
    pub(super) fn dispatch_unknown_request(L, vm) {
        exchange(L, vm, place::REQUEST);
        if lua_type(L, -1) == LUA_TNIL {
            lua_pushcfunction(L, default_request);
        }
        1
    }

    /// `skynet.dispatch_unknown_response(f)`
    pub(super) fn dispatch_unknown_response(L, vm) {
        exchange(L, vm, place::RESPONSE);
        if lua_type(L, -1) == LUA_TNIL {
            lua_pushcfunction(L, default_response);
        }
        1
    }

    /// `skynet.info_func(f)`
    pub(super) fn info_func(L, vm) {
        luaL_checktype(L, 1, LUA_TFUNCTION);
        exchange(L, vm, place::INFO);
        0
    }

    /// For `skynet.debug`: the function given to `info_func`.
    pub(super) fn info(L, vm) {
        push_handler(L, vm, place::INFO);
        1
    }

    /// For `skynet.remotedebug`: `f(type, msg, sz, session, source)` is called
    /// before every message; nil ends it.
    pub(super) fn hook(L, vm) {
        lua_settop(L, 1);
        exchange(L, vm, place::HOOK);
        let s = sched(vm);
        if lua_type(L, 1) == LUA_TNIL {
            (*s).special &= !special::HOOK;
        } else {
            (*s).special |= special::HOOK;
        }
        0
    }

    /// `(session, source, msg, sz, proto)`
    fn default_request(L, vm) {
        lua_settop(L, 5);
        lua_pushstring(L, c"Unknown request (".as_ptr());
        luaL_tolstring(L, 5, std::ptr::null_mut());
        lua_pushstring(L, c"): ".as_ptr());
        push_message(L, 3);
        lua_concat(L, 4);
        log_and_raise(L, vm)
    }

    /// `(session, source, msg, sz)`
    fn default_response(L, vm) {
        lua_settop(L, 4);
        lua_pushstring(L, c"Response message : ".as_ptr());
        push_message(L, 3);
        lua_concat(L, 2);
        log_and_raise(L, vm)
    }
}

/// Pushes the message at `index`, a string or a pointer with its size behind it.
unsafe fn push_message(L: *mut lua_State, index: c_int) {
    // SAFETY: the pointer is that of the message being dispatched (or the
    // caller of the handler vouches for it, as for `skynet.tostring`).
    unsafe {
        let pointer = lua_touserdata(L, index);
        let size = lua_tointegerx(L, index + 1, std::ptr::null_mut());
        if let Some(text) = string_at(L, index) {
            push_bytes(L, text);
        } else if pointer.is_null() || size <= 0 {
            lua_pushstring(L, c"".as_ptr());
        } else {
            lua_pushlstring(L, pointer.cast(), size as usize);
        }
    }
}

/// Logs the text on the top and raises `Unknown session`; session and source
/// are at index 1 and 2.
unsafe fn log_and_raise(L: *mut lua_State, vm: *mut Vm) -> c_int {
    // SAFETY: the text on the top is a string.
    unsafe {
        context(vm).log(string_at(L, -1).unwrap_or_default());
        let session = lua_tointegerx(L, 1, std::ptr::null_mut());
        let source = lua_tointegerx(L, 2, std::ptr::null_mut());
        lua_pushfstring(L, c"Unknown session : %I from ".as_ptr(), session);
        let mut text = [0u8; 16];
        let len = {
            use std::io::Write;
            let mut rest = &mut text[..];
            // At most 8 digits.
            let _ = write!(rest, "{:x}", source as u32);
            16 - rest.len()
        };
        push_bytes(L, &text[..len]);
        lua_concat(L, 2);
        lua_error(L)
    }
}

/// Calls the handler (or its default) for the current message. `extra`: values
/// from the top that follow the four arguments.
unsafe fn call_handler(
    L: *mut lua_State,
    vm: *mut Vm,
    place: i64,
    default: lua_CFunction,
    extra: c_int,
) {
    // SAFETY: the caller is a routing step in protected mode.
    unsafe {
        let current = (*sched(vm)).current;
        if push_handler(L, vm, place) == LUA_TNIL {
            lua_settop(L, -2);
            lua_pushcfunction(L, default);
        }
        lua_pushinteger(L, lua_Integer::from(current.session));
        lua_pushinteger(L, lua_Integer::from(current.source));
        push_current(L, vm);
        if extra != 0 {
            lua_pushvalue(L, -6);
        }
        lua_callk(L, 4 + extra, 0, 0, None);
    }
}

/// A request of session 0 that nobody handles; its protocol is on the top.
#[cold]
pub(super) unsafe fn unknown_request(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: as `call_handler`.
    unsafe { call_handler(L, vm, place::REQUEST, default_request, 1) }
}

/// An answer that nobody waits for.
#[cold]
pub(super) unsafe fn unknown_response(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: as `call_handler`.
    unsafe { call_handler(L, vm, place::RESPONSE, default_response, 0) }
}

/// Shows the debugger the message.
#[cold]
pub(super) unsafe fn call_hook(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: as `call_handler`. The hook may resume a stopped coroutine.
    unsafe {
        let current = (*sched(vm)).current;
        if push_handler(L, vm, place::HOOK) == LUA_TNIL {
            lua_settop(L, -2);
            return;
        }
        lua_pushinteger(L, lua_Integer::from(current.kind));
        push_current(L, vm);
        lua_pushinteger(L, lua_Integer::from(current.session));
        lua_pushinteger(L, lua_Integer::from(current.source));
        if lua_pcallk(L, 5, 0, 0, 0, None) != LUA_OK {
            if let Some(text) = string_at(L, -1) {
                super::ending::add_error(vm, text);
            }
            lua_settop(L, -2);
        }
    }
}
