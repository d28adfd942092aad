//! Answering the current request: `ret`, `retpack`, `response`, `ignoreret`, `context`.

use std::ffi::c_int;

use skynet_core::{Handle, Payload, ptype};

use super::send::Packed;
use super::state::{Response, flag};
use super::tools::*;
use super::{lib, send, trace};
use crate::ffi::*;
use crate::vm::Vm;

/// Takes the session that the running coroutine owes an answer to; `None` if it owes none.
#[inline]
unsafe fn take_request(vm: *mut Vm) -> Option<(i32, Handle)> {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let coro = (*sched(vm)).running()?;
        if coro.flags & flag::OWES == 0 {
            return None;
        }
        coro.flags &= !flag::OWES;
        Some((coro.session, coro.source))
    }
}

#[inline]
unsafe fn trace_response(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: the caller vouches for L and vm.
    unsafe {
        if super::call::is_traced(vm) {
            let running = (*sched(vm)).running;
            trace::line(L, vm, running, b"response", None);
        }
    }
}

/// Sends an answer; if it is too large the caller gets an error.
#[inline]
unsafe fn deliver(vm: *mut Vm, source: Handle, session: i32, payload: Payload) -> bool {
    // SAFETY: the caller vouches for vm.
    unsafe {
        match Sent::from(context(vm).send(source, ptype::RESPONSE, session, payload)) {
            Sent::Yes => true,
            Sent::Dead => false,
            Sent::TooLarge => {
                reply_error(vm, source, session, b"the answer is too large");
                false
            }
        }
    }
}

lua_functions! {
    /// `skynet.ret([msg [, sz]])`
    pub(super) fn ret(L, vm) {
        lua_settop(L, 2);
        trace_response(L, vm);
        let Some((session, source)) = take_request(vm) else {
            fail(L, b"No session");
        };
        let payload = if lua_toboolean(L, 1) == 0 {
            Payload::null()
        } else {
            payload_at(L, vm, 1)
        };
        let sent = session != 0 && deliver(vm, source, session, payload);
        lua_pushboolean(L, c_int::from(sent));
        1
    }

    /// `skynet.retpack(...)`: `skynet.ret(skynet.pack(...))`, also when user
    /// code has put its own functions there.
    pub(super) fn retpack(L, vm) {
        let last = lua_gettop(L);
        luaL_checkstack(L, 4, std::ptr::null());
        push_ref(L, (*sched(vm)).refs.module);
        lua_getfield(L, -1, c"pack".as_ptr());
        lua_getfield(L, -2, c"ret".as_ptr());
        if !is_native(L, -2, lib::pack)
            || !is_native(L, -1, ret)
        {
            return replaced_retpack(L, last);
        }
        let start = pack(L, vm, 1, last);
        trace_response(L, vm);
        let Some((session, source)) = take_request(vm) else {
            (*vm).scratch.truncate(start);
            fail(L, b"No session");
        };
        let payload = take_packed(vm, start);
        let sent = session != 0 && deliver(vm, source, session, payload);
        lua_pushboolean(L, c_int::from(sent));
        1
    }

    /// `skynet.response([pack])`
    pub(super) fn response(L, vm) {
        lua_settop(L, 1);
        let s = sched(vm);
        match (*s).running() {
            Some(coro) if coro.flags & flag::OWES != 0 && coro.session != 0 => {}
            Some(coro) if coro.flags & flag::OWES != 0 => {
                coro.flags &= !flag::OWES;
                lua_pushcfunction(L, nothing);
                return 1;
            }
            _ => fail(L, b"no session"),
        }
        let cold = (*s).cold();
        cold.last_response = cold.last_response.wrapping_add(1).max(1);
        let number = cold.last_response;
        lua_pushinteger(L, lua_Integer::from(number));
        lua_insert(L, 1);
        lua_pushcclosure(L, respond, 2);
        // Nothing raised, so somebody can answer it: the coroutine owes nothing now.
        if let Some((session, source)) = take_request(vm) {
            (*s).cold().responses.insert(number, Response { session, source });
        }
        1
    }

    /// The answer to a request that wanted none.
    fn nothing(L, vm) {
        0
    }

    /// The closure of `skynet.response`. Upvalues: its number (0 once used), the packer.
    fn respond(L, vm) {
        let s = sched(vm);
        let number = lua_tointegerx(L, lua_upvalueindex(1), std::ptr::null_mut()) as u32;
        let open = match &(*s).cold {
            Some(cold) => cold.responses.get(&number).copied(),
            None => None,
        };
        if string_at(L, 1) == Some(b"TEST") {
            lua_pushboolean(L, c_int::from(open.is_some()));
            return 1;
        }
        if number == 0 {
            fail(L, b"Can't response more than once");
        }
        let Some(Response { session, source }) = open else {
            // The caller is known to be gone.
            use_up(L, vm, number);
            lua_pushboolean(L, 0);
            return 1;
        };
        let sent = if lua_toboolean(L, 1) != 0 {
            let packed = pack_response(L, vm);
            use_up(L, vm, number);
            deliver(vm, source, session, send::take(L, vm, packed))
        } else {
            use_up(L, vm, number);
            let why = string_at(L, 2).unwrap_or(b"the request was refused");
            let alive = context(vm).node().context(source).is_some()
                || context(vm).node().is_remote(source);
            reply_error(vm, source, session, why);
            alive
        };
        lua_pushboolean(L, c_int::from(sent));
        1
    }

    /// `skynet.ignoreret()`
    pub(super) fn ignoreret(L, vm) {
        take_request(vm);
        0
    }

    /// `skynet.context()`: session and source of the current request.
    pub(super) fn request_context(L, vm) {
        match (*sched(vm)).running() {
            Some(coro) if coro.flags & flag::REQUEST != 0 => {
                let coro = *coro;
                if coro.flags & flag::OWES != 0 {
                    lua_pushinteger(L, lua_Integer::from(coro.session));
                } else {
                    lua_pushnil(L);
                }
                lua_pushinteger(L, lua_Integer::from(coro.source));
            }
            _ => {
                lua_pushnil(L);
                lua_pushnil(L);
            }
        }
        2
    }
}

/// A response has been given: a second one is an error.
unsafe fn use_up(L: *mut lua_State, vm: *mut Vm, number: u32) {
    // SAFETY: called by `respond`; an integer replaces an integer.
    unsafe {
        lua_pushinteger(L, 0);
        lua_replace(L, lua_upvalueindex(1));
        if let Some(cold) = &mut (*sched(vm)).cold {
            cold.responses.remove(&number);
        }
    }
}

/// Packs what a response closure got, from index 2 on. Raises what the packer raises.
unsafe fn pack_response(L: *mut lua_State, vm: *mut Vm) -> Packed {
    // SAFETY: called by `respond`.
    unsafe {
        let last = lua_gettop(L);
        let packer = lua_upvalueindex(2);
        let native = lua_type(L, packer) == LUA_TNIL || is_native(L, packer, lib::pack);
        if native {
            return Packed::Scratch(pack(L, vm, 2, last));
        }
        lua_pushvalue(L, packer);
        lua_replace(L, 1);
        lua_callk(L, last - 1, 2, 0, None);
        Packed::Stack(1)
    }
}

/// `retpack` where `skynet.pack` or `skynet.ret` was replaced. Stack:
/// values up to `last`, skynet, pack, ret.
#[cold]
unsafe fn replaced_retpack(L: *mut lua_State, last: c_int) -> c_int {
    // SAFETY: called by `retpack` as its last act.
    unsafe {
        // skynet is not needed any more; ret, pack, values.
        lua_remove(L, last + 1);
        lua_rotate(L, 1, 2);
        // pack, ret, values -> ret, pack, values
        lua_pushvalue(L, 1);
        lua_copy(L, 2, 1);
        lua_replace(L, 2);
        lua_callk(L, last, LUA_MULTRET, 0, None);
        lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, Some(all));
        lua_gettop(L)
    }
}

continuations! {
    /// Everything on the stack is a result.
    pub(super) fn all(L, vm, ctx) {
        lua_gettop(L)
    }
}
