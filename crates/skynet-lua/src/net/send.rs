//! `send` and `lsend` of `skynet.socketdriver`: the forms a message can have
//! (spec/03-network.md §2).

use std::ffi::c_int;

use skynet_core::Payload;
use skynet_net::Net;

use super::driver::{guarded, id_at, net_of};
use crate::ffi::*;
use crate::vm::{Vm, vm_of};

/// A scratch area larger than this is given back after use.
const KEPT_SCRATCH: usize = 64 * 1024;

/// Appends the elements of the table at 2, from 1 to the first nil, to the
/// scratch area. May raise (and run `__index`).
unsafe fn concat(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: Lua called our caller; the area is the Vm's and is borrowed for
    // one statement at a time.
    unsafe {
        (*vm).text.clear();
        for index in 1.. {
            if lua_geti(L, 2, index) == LUA_TNIL {
                break;
            }
            let mut length = 0;
            let text = luaL_checklstring(L, -1, &mut length);
            let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length);
            (*vm).text.extend_from_slice(bytes);
            lua_settop(L, -2);
        }
    }
}

fn put(net: &Net, id: i32, bytes: &[u8], low: bool) -> bool {
    if low {
        net.send_low_slice(id, bytes)
    } else {
        net.send_slice(id, bytes)
    }
}

/// A malloc'ed block with its size: it becomes ours, sent or not.
unsafe fn send_block(L: *mut lua_State, net: &Net, id: i32, low: bool) -> bool {
    // SAFETY: Lua called our caller; the contract of the Lua function gives us the block.
    unsafe {
        let Some(size) = integer_at(L, 3).and_then(|size| usize::try_from(size).ok()) else {
            luaL_argerror(L, 3, c"size expected".as_ptr());
            return false;
        };
        let block = lua_touserdata(L, 2);
        guarded(|| {
            let payload = Payload::from_malloc(block, size);
            if low {
                net.send_low(id, payload)
            } else {
                net.send(id, payload)
            }
        })
        .unwrap_or(false)
    }
}

/// The bytes of a full userdata.
unsafe fn userdata_at<'a>(L: *mut lua_State) -> &'a [u8] {
    // SAFETY: Lua called our caller; the userdata stays on the stack.
    unsafe {
        let whole = lua_rawlen(L, 2) as usize;
        let size = match integer_at(L, 3) {
            None => whole,
            Some(size) => match usize::try_from(size) {
                Ok(size) if size <= whole => size,
                _ => {
                    luaL_argerror(L, 3, c"invalid size".as_ptr());
                    0
                }
            },
        };
        std::slice::from_raw_parts(lua_touserdata(L, 2).cast::<u8>(), size)
    }
}

unsafe fn send_any(L: *mut lua_State, low: bool) -> c_int {
    // SAFETY: Lua called us; strings and userdata stay on the stack while they are read.
    unsafe {
        let net = net_of(L);
        let id = id_at(L, 1);
        let sent = match lua_type(L, 2) {
            LUA_TLIGHTUSERDATA => send_block(L, net, id, low),
            LUA_TTABLE => {
                let vm = vm_of(L);
                concat(L, vm);
                let text = &(*vm).text;
                let sent = guarded(|| put(net, id, text, low)).unwrap_or(false);
                if (*vm).text.capacity() > KEPT_SCRATCH {
                    (*vm).text = Vec::new();
                }
                sent
            }
            LUA_TUSERDATA => {
                let bytes = userdata_at(L);
                guarded(|| put(net, id, bytes, low)).unwrap_or(false)
            }
            _ => {
                let mut length = 0;
                let text = luaL_checklstring(L, 2, &mut length);
                let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length);
                guarded(|| put(net, id, bytes, low)).unwrap_or(false)
            }
        };
        lua_pushboolean(L, c_int::from(sent));
    }
    1
}

/// `send(id, msg [, sz])`
pub(super) unsafe extern "C-unwind" fn send(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe { send_any(L, false) }
}

/// `lsend(id, msg [, sz])`: behind everything else that waits.
pub(super) unsafe extern "C-unwind" fn lsend(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe { send_any(L, true) }
}
