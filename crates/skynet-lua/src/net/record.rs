//! The record of a socket message (spec/03-network.md §1.4) as Lua functions get
//! it: a light userdata and a size.

use std::ffi::c_int;

use crate::ffi::*;

/// Size of the record without text.
const SIZE: usize = 24;

/// A socket message that lies in memory.
#[derive(Clone, Copy)]
pub(super) struct Record {
    at: *mut u8,
    size: usize,
}

impl Record {
    /// The record in the arguments `idx` (pointer) and `idx + 1` (size), or an argument error.
    ///
    /// # Safety
    /// Called by a function that Lua called, with nothing to drop. The pointer
    /// is that of a socket message being dispatched, as the contract of the Lua function says.
    pub(super) unsafe fn at(L: *mut lua_State, idx: c_int) -> Self {
        // SAFETY: the caller vouches.
        unsafe {
            let at = lua_touserdata(L, idx).cast::<u8>();
            let size = luaL_checkinteger(L, idx + 1);
            if lua_type(L, idx) != LUA_TLIGHTUSERDATA || at.is_null() {
                luaL_argerror(L, idx, c"socket message expected".as_ptr());
            }
            match usize::try_from(size) {
                Ok(size) if size >= SIZE => Self { at, size },
                _ => {
                    luaL_argerror(L, idx + 1, c"invalid size".as_ptr());
                    unreachable!("luaL_argerror does not return")
                }
            }
        }
    }

    fn int(self, offset: usize) -> i32 {
        // SAFETY: the record has at least SIZE bytes (contract of `at`).
        unsafe { self.at.add(offset).cast::<i32>().read_unaligned() }
    }

    pub(super) fn kind(self) -> i32 {
        self.int(0)
    }

    pub(super) fn id(self) -> i32 {
        self.int(4)
    }

    pub(super) fn ud(self) -> i32 {
        self.int(8)
    }

    /// Takes the data block out of the record: who calls this frees it. NULL
    /// if there is none (any more).
    pub(super) fn take_buffer(self) -> *mut u8 {
        // SAFETY: the record has at least SIZE bytes and the pointer lies at 16;
        // the message that owns it frees what it finds there later.
        unsafe {
            let place = self.at.add(16).cast::<*mut u8>();
            let buffer = place.read_unaligned();
            place.write_unaligned(std::ptr::null_mut());
            buffer
        }
    }

    /// The text behind the record.
    pub(super) fn text<'a>(self) -> &'a [u8] {
        // SAFETY: the message is `size` bytes long and is dispatched as long as
        // the Lua function runs, which is how long the text is used.
        unsafe { std::slice::from_raw_parts(self.at.add(SIZE), self.size - SIZE) }
    }
}
