//! Sending without waiting: `send`, `rawsend`, `redirect`, and the way a call
//! leaves.

use std::ffi::c_int;

use skynet_core::Payload;

use super::lib;
use super::tools::*;
use crate::ffi::*;
use crate::vm::Vm;

/// Pushes the class of the protocol whose name (or number) is at `index`.
/// Raises where upstream's Lua would. Slots: 2.
#[inline]
pub(super) unsafe fn push_class(L: *mut lua_State, vm: *mut Vm, index: c_int) -> c_int {
    // SAFETY: the caller vouches for L and vm.
    unsafe {
        push_ref(L, (*sched(vm)).refs.proto);
        lua_pushvalue(L, index);
        if lua_rawget(L, -2) != LUA_TTABLE {
            fail(L, b"attempt to index a nil value (local 'p')");
        }
        lua_gettop(L)
    }
}

/// The id in the class at `class`.
#[inline]
pub(super) unsafe fn class_id(L: *mut lua_State, class: c_int) -> u8 {
    // SAFETY: the caller vouches for L.
    unsafe {
        lua_getfield(L, class, c"id".as_ptr());
        let id = lua_tointegerx(L, -1, std::ptr::null_mut());
        lua_settop(L, -2);
        id as u8
    }
}

/// Where the message of a request is after packing.
#[derive(Clone, Copy)]
pub(super) enum Packed {
    /// In the scratch area, from here on.
    Scratch(usize),
    /// On the Lua stack, as [`payload_at`] reads it.
    Stack(c_int),
}

/// Packs the values `first..=last` as the class at `class` wants it. Raises what the packer raises.
#[inline]
pub(super) unsafe fn pack_with(
    L: *mut lua_State,
    vm: *mut Vm,
    class: c_int,
    first: c_int,
    last: c_int,
) -> Packed {
    // SAFETY: the caller vouches for L and vm; the values stay where they are.
    unsafe {
        lua_getfield(L, class, c"pack".as_ptr());
        if is_native(L, -1, lib::pack) {
            lua_settop(L, -2);
            return Packed::Scratch(pack(L, vm, first, last));
        }
        let at = lua_gettop(L);
        if lua_type(L, at) == LUA_TNIL {
            fail(L, b"attempt to call a nil value (field 'pack')");
        }
        let count = last - first + 1;
        luaL_checkstack(L, count + 4, std::ptr::null());
        for index in first..=last {
            lua_pushvalue(L, index);
        }
        lua_callk(L, count, LUA_MULTRET, 0, None);
        if lua_gettop(L) < at {
            lua_pushnil(L);
        }
        Packed::Stack(at)
    }
}

/// The packed message as a payload. Nothing may raise while the result lives.
#[inline]
pub(super) unsafe fn take(L: *mut lua_State, vm: *mut Vm, packed: Packed) -> Payload {
    // SAFETY: the caller vouches for L and vm.
    unsafe {
        match packed {
            Packed::Scratch(start) => take_packed(vm, start),
            Packed::Stack(index) => payload_at(L, vm, index),
        }
    }
}

/// Pushes what `send` returns: `session`, nothing for a dead address, false for too large.
pub(super) unsafe fn push_sent(L: *mut lua_State, sent: Sent, session: i32) -> c_int {
    // SAFETY: the caller vouches for L and a slot.
    unsafe {
        match sent {
            Sent::Yes if session >= 0 || session == -2 => {
                lua_pushinteger(L, lua_Integer::from(session));
                1
            }
            Sent::Yes | Sent::Dead => 0,
            Sent::TooLarge => {
                lua_pushboolean(L, 0);
                1
            }
        }
    }
}

lua_functions! {
    /// `skynet.send(addr, proto, ...)`
    pub(super) fn send(L, vm) {
        let last = lua_gettop(L);
        luaL_checkstack(L, 6, std::ptr::null());
        let class = push_class(L, vm, 2);
        let id = class_id(L, class);
        let packed = pack_with(L, vm, class, 3, last);
        let target = target(L, 1);
        let payload = take(L, vm, packed);
        let sent = send_to(context(vm), target, 0, id, 0, payload);
        push_sent(L, sent, 0)
    }

    /// `skynet.rawsend(addr, proto, msg [, sz])`
    pub(super) fn rawsend(L, vm) {
        lua_settop(L, 4);
        let class = push_class(L, vm, 2);
        let id = class_id(L, class);
        let target = target(L, 1);
        let payload = payload_at(L, vm, 3);
        let sent = send_to(context(vm), target, 0, id, 0, payload);
        push_sent(L, sent, 0)
    }

    /// `skynet.redirect(dest, source, proto, session, msg [, sz])`
    pub(super) fn redirect(L, vm) {
        lua_settop(L, 6);
        let class = push_class(L, vm, 3);
        let id = class_id(L, class);
        let source = luaL_checkinteger(L, 2) as u32;
        let target = target(L, 1);
        let session = if lua_type(L, 4) == LUA_TNIL {
            context(vm).new_session()
        } else {
            luaL_checkinteger(L, 4) as i32
        };
        let payload = payload_at(L, vm, 5);
        let sent = send_to(context(vm), target, source, id, session, payload);
        push_sent(L, sent, session)
    }
}
