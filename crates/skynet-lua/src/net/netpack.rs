//! `skynet.netpack`: the two-byte framing over the stream of socket messages
//! (spec/03-network.md §3). The codec is skynet-net's.

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use skynet_net::kind;
use skynet_net::netpack::{Decoded, MAX_PACKET, Netpack};

use super::owned::{self, Class};
use super::record::Record;
use crate::ffi::*;

static MARK: u8 = 0;

impl Class for Netpack {
    fn mark() -> &'static u8 {
        &MARK
    }
}

/// What a chunk led to, without anything that needs a destructor.
enum Outcome {
    Nothing,
    One(*mut u8, usize),
    More,
    Panicked,
}

/// Makes index 1 a queue if it is none. May raise.
unsafe fn ensure(L: *mut lua_State) -> *mut Netpack {
    // SAFETY: called by a function that Lua called.
    unsafe {
        let packets = owned::at::<Netpack>(L, 1);
        if !packets.is_null() {
            return packets;
        }
        if lua_type(L, 1) > LUA_TNIL {
            luaL_argerror(L, 1, c"netpack queue expected".as_ptr());
        }
        let packets = owned::push::<Netpack>(L);
        lua_replace(L, 1);
        packets
    }
}

/// Feeds a chunk to the queue and frees it.
///
/// # Safety
/// `queue` is live; `block` is a malloc block of at least `size` bytes that becomes ours.
unsafe fn feed(queue: *mut Netpack, fd: i32, block: *mut u8, size: usize) -> Outcome {
    // SAFETY: the caller vouches; nothing else uses the codec meanwhile.
    unsafe {
        let packets = &mut *queue;
        let chunk = std::slice::from_raw_parts(block, size);
        let outcome = catch_unwind(AssertUnwindSafe(|| match packets.push(fd, chunk) {
            Decoded::Nothing => Outcome::Nothing,
            Decoded::One(packet) => {
                let (pointer, size) = packet.data.into_raw();
                Outcome::One(pointer, size)
            }
            Decoded::More => Outcome::More,
        }))
        .unwrap_or(Outcome::Panicked);
        libc::free(block.cast());
        outcome
    }
}

/// `filter(queue, msg, sz)`: the queue and an event.
unsafe extern "C-unwind" fn filter(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us. All strings are pushed before the block leaves the
    // record; light userdata and integers do not allocate.
    unsafe {
        lua_settop(L, 3);
        let record = Record::at(L, 2);
        let (what, id, ud) = (record.kind(), record.id(), record.ud());
        if what == kind::DATA {
            let queue = ensure(L);
            lua_pushstring(L, c"data".as_ptr());
            lua_pushstring(L, c"more".as_ptr());
            let block = record.take_buffer();
            if block.is_null() {
                lua_settop(L, 1);
                return 1;
            }
            match feed(queue, id, block, usize::try_from(ud).unwrap_or(0)) {
                Outcome::Nothing => {
                    lua_settop(L, 1);
                    return 1;
                }
                Outcome::More => {
                    lua_replace(L, 2);
                    lua_settop(L, 2);
                    return 2;
                }
                Outcome::One(pointer, size) => {
                    lua_settop(L, 4);
                    lua_replace(L, 2);
                    lua_settop(L, 2);
                    lua_pushinteger(L, lua_Integer::from(id));
                    lua_pushlightuserdata(L, pointer.cast::<c_void>());
                    lua_pushinteger(L, size as lua_Integer);
                    return 5;
                }
                Outcome::Panicked => raise(L, b"netpack: internal error"),
            }
        }
        let queue = owned::at::<Netpack>(L, 1);
        if (what == kind::CLOSE || what == kind::ERROR) && !queue.is_null() {
            (*queue).forget(id);
        }
        let text = record.text();
        lua_settop(L, 1);
        match what {
            kind::CONNECT => {
                lua_pushstring(L, c"init".as_ptr());
                lua_pushinteger(L, lua_Integer::from(id));
                push_bytes(L, text);
                lua_pushinteger(L, lua_Integer::from(ud));
            }
            kind::CLOSE => {
                lua_pushstring(L, c"close".as_ptr());
                lua_pushinteger(L, lua_Integer::from(id));
            }
            kind::ERROR => {
                lua_pushstring(L, c"error".as_ptr());
                lua_pushinteger(L, lua_Integer::from(id));
                push_bytes(L, text);
            }
            kind::ACCEPT => {
                lua_pushstring(L, c"open".as_ptr());
                lua_pushinteger(L, lua_Integer::from(ud));
                push_bytes(L, text);
            }
            kind::WARNING => {
                lua_pushstring(L, c"warning".as_ptr());
                lua_pushinteger(L, lua_Integer::from(id));
                lua_pushinteger(L, lua_Integer::from(ud));
            }
            _ => {}
        }
        lua_gettop(L)
    }
}

/// `pop(queue)`: fd, pointer and size of the oldest complete packet, or nothing.
unsafe extern "C-unwind" fn pop(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the pushes do not allocate.
    unsafe {
        let queue = owned::at::<Netpack>(L, 1);
        if queue.is_null() {
            return 0;
        }
        let Some((fd, (pointer, size))) = (*queue)
            .pop()
            .map(|packet| (packet.fd, packet.data.into_raw()))
        else {
            return 0;
        };
        lua_pushinteger(L, lua_Integer::from(fd));
        lua_pushlightuserdata(L, pointer.cast::<c_void>());
        lua_pushinteger(L, size as lua_Integer);
    }
    3
}

/// `clear(queue)`: forgets all packets.
unsafe extern "C-unwind" fn clear(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        let queue = owned::at::<Netpack>(L, 1);
        if !queue.is_null() {
            (*queue).clear();
        }
    }
    0
}

/// Bytes in a string argument at 1, or in a pointer and a size at 1 and 2.
unsafe fn bytes_at<'a>(L: *mut lua_State) -> &'a [u8] {
    // SAFETY: the caller was called by Lua; the string stays on the stack, a
    // pointer is valid by the contract of the Lua function.
    unsafe {
        if lua_type(L, 1) == LUA_TLIGHTUSERDATA {
            let size = luaL_checkinteger(L, 2);
            let Ok(size) = usize::try_from(size) else {
                luaL_argerror(L, 2, c"invalid size".as_ptr());
                return &[];
            };
            let pointer = lua_touserdata(L, 1).cast::<u8>();
            if pointer.is_null() {
                return &[];
            }
            return std::slice::from_raw_parts(pointer, size);
        }
        let mut length = 0;
        let text = luaL_checklstring(L, 1, &mut length);
        std::slice::from_raw_parts(text.cast::<u8>(), length)
    }
}

/// `pack(s)` or `pack(ptr, sz)`: a malloc'ed packet with its header, and its size.
unsafe extern "C-unwind" fn pack(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the pushes do not allocate.
    unsafe {
        let bytes = bytes_at(L);
        if bytes.len() > MAX_PACKET {
            return luaL_error(
                L,
                c"Invalid size (too long) of data : %I".as_ptr(),
                bytes.len() as lua_Integer,
            );
        }
        let Ok((pointer, size)) = skynet_net::netpack::pack(bytes).map(|block| block.into_raw())
        else {
            return 0;
        };
        lua_pushlightuserdata(L, pointer.cast::<c_void>());
        lua_pushinteger(L, size as lua_Integer);
    }
    2
}

/// `tostring(ptr, sz)`: a string; frees the block.
unsafe extern "C-unwind" fn tostring(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the block is freed after the push, and stays the
    // caller's if that raises.
    unsafe {
        if lua_touserdata(L, 1).is_null() {
            push_bytes(L, b"");
            return 1;
        }
        if lua_type(L, 1) != LUA_TLIGHTUSERDATA {
            return luaL_argerror(L, 1, c"packet expected".as_ptr());
        }
        push_bytes(L, bytes_at(L));
        libc::free(lua_touserdata(L, 1));
    }
    1
}

const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[
    (c"filter", filter),
    (c"pop", pop),
    (c"clear", clear),
    (c"pack", pack),
    (c"tostring", tostring),
];

/// Opens the module.
///
/// # Safety
/// A `luaopen` function: Lua calls it.
pub(crate) unsafe extern "C-unwind" fn luaopen(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe { new_library(L, FUNCTIONS, 0) };
    1
}
