//! Identity, environment, clocks and counters.

use std::ffi::c_int;

use super::call::push_address;
use super::coro::new_session;
use super::tools::*;
use crate::ffi::*;

/// The bytes of the string (or number) at `index`, or raises.
unsafe fn text_at<'a>(L: *mut lua_State, index: c_int) -> &'a [u8] {
    // SAFETY: the caller is a native function; the string is on its stack.
    unsafe {
        let mut len = 0;
        let pointer = luaL_checklstring(L, index, &mut len);
        std::slice::from_raw_parts(pointer.cast(), len)
    }
}

lua_functions! {
    /// `skynet.self()`
    pub(super) fn own_handle(L, vm) {
        lua_pushinteger(L, lua_Integer::from(context(vm).handle()));
        1
    }

    /// `skynet.address(a)`
    pub(super) fn address(L, vm) {
        lua_settop(L, 1);
        push_address(L, 1);
        1
    }

    /// `skynet.localname(".x")`
    pub(super) fn localname(L, vm) {
        let Some(name) = text_at(L, 1).strip_prefix(b".") else {
            return 0;
        };
        match context(vm).node().find_name(name) {
            Some(handle) => {
                lua_pushinteger(L, lua_Integer::from(handle));
                1
            }
            None => 0,
        }
    }

    /// `skynet.genid()`
    pub(super) fn genid(L, vm) {
        lua_pushinteger(L, lua_Integer::from(new_session(vm)));
        1
    }

    /// `skynet.getenv(key)`
    pub(super) fn getenv(L, vm) {
        let key = text_at(L, 1);
        (*vm).text.clear();
        match context(vm).node().env().get(key) {
            Some(value) => (*vm).text = value,
            None => {
                lua_pushnil(L);
                return 1;
            }
        }
        push_bytes(L, &(*vm).text);
        1
    }

    /// `skynet.setenv(key, value)`
    pub(super) fn setenv(L, vm) {
        lua_settop(L, 2);
        text_at(L, 1);
        if lua_isstring(L, 2) == 0 {
            lua_pushfstring(
                L,
                c"attempt to concatenate a %s value (local 'value')".as_ptr(),
                luaL_typename(L, 2),
            );
            fail_top(L);
        }
        // As the command does: the key ends at the first blank of "key value".
        lua_pushvalue(L, 1);
        lua_pushstring(L, c" ".as_ptr());
        lua_pushvalue(L, 2);
        lua_concat(L, 3);
        let text = text_at(L, 3);
        let at = text.iter().position(|&b| b == b' ').unwrap_or(text.len() - 1);
        if !context(vm).node().env().set(&text[..at], &text[at + 1..]) {
            lua_pushstring(L, c"Can't setenv exist key : ".as_ptr());
            lua_pushvalue(L, 1);
            lua_concat(L, 2);
            fail_top(L);
        }
        0
    }

    /// `skynet.starttime()`
    pub(super) fn starttime(L, vm) {
        lua_pushinteger(L, lua_Integer::from(context(vm).node().start_seconds()));
        1
    }

    /// `skynet.time()`
    pub(super) fn time(L, vm) {
        let node = context(vm).node();
        lua_pushnumber(L, node.now() as f64 / 100.0 + f64::from(node.start_seconds()));
        1
    }

    /// `skynet.stat(what)`
    pub(super) fn stat(L, vm) {
        let context = context(vm);
        lua_settop(L, 1);
        match text_at(L, 1) {
            b"mqlen" => lua_pushinteger(L, context.mailbox_length() as lua_Integer),
            b"message" => lua_pushinteger(L, context.stat().message_count as lua_Integer),
            b"cpu" => lua_pushnumber(L, context.stat().cpu_ns as f64 / 1e9),
            b"time" => lua_pushnumber(L, context.dispatch_cpu_ns() as f64 / 1e9),
            b"endless" => lua_pushinteger(L, lua_Integer::from(context.take_endless())),
            _ => lua_pushinteger(L, 0),
        }
        1
    }

    /// `skynet.mqlen()`
    pub(super) fn mqlen(L, vm) {
        lua_pushinteger(L, context(vm).mailbox_length() as lua_Integer);
        1
    }

    /// `skynet.endless()`
    pub(super) fn endless(L, vm) {
        lua_pushboolean(L, c_int::from(context(vm).take_endless()));
        1
    }

    /// `skynet.memlimit(bytes)`: read by the host when the main chunk has run.
    pub(super) fn memlimit(L, vm) {
        lua_settop(L, 1);
        lua_setfield(L, LUA_REGISTRYINDEX, c"memlimit".as_ptr());
        push_ref(L, (*sched(vm)).refs.module);
        lua_pushnil(L);
        lua_setfield(L, -2, c"memlimit".as_ptr());
        0
    }
}
