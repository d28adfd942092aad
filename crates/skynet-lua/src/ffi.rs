//! The Lua C API as the rest of the crate sees it, and the few helpers that
//! every native function needs.
//!
//! Rules (docs/architecture.md): `extern "C-unwind"` means "may raise a Lua
//! error", and an error is a longjmp: a frame that it crosses runs no
//! destructors. So a native function keeps owned values (`Vec`, `Payload`,
//! guards) out of the way of every call that may raise: it lets a helper
//! compute into the scratch area of its [`Vm`](crate::vm::Vm), or finishes with
//! them before it pushes.

use std::ffi::{CStr, c_char, c_int};

pub use skynet_lua_sys::*;

/// Pushes a Lua string with these bytes. Slots: 1. May raise (memory).
///
/// # Safety
/// `L` is a live Lua thread with a free slot.
pub unsafe fn push_bytes(L: *mut lua_State, bytes: &[u8]) {
    // SAFETY: the caller vouches for L; the bytes are read up to their length.
    unsafe { lua_pushlstring(L, bytes.as_ptr().cast(), bytes.len()) };
}

/// The bytes of the string at `idx`, `None` if the value there is no string.
/// Converts nothing, does not raise.
///
/// # Safety
/// `L` is a live Lua thread; the string stays reachable (on the stack, say)
/// for as long as the result is used.
pub unsafe fn string_at<'a>(L: *mut lua_State, idx: c_int) -> Option<&'a [u8]> {
    // SAFETY: the caller vouches for L; of a string value lua_tolstring
    // returns its own bytes, which live as long as the string.
    unsafe {
        if lua_type(L, idx) != LUA_TSTRING {
            return None;
        }
        let mut len = 0;
        let pointer = lua_tolstring(L, idx, &mut len);
        Some(std::slice::from_raw_parts(pointer.cast(), len))
    }
}

/// Raises an error with this text and the usual position prefix. The text may
/// not own anything: it is borrowed from a static or from memory that someone
/// else frees.
///
/// # Safety
/// Called by a function that Lua called, with nothing on its frames to drop.
pub unsafe fn raise(L: *mut lua_State, text: &[u8]) -> ! {
    // SAFETY: luaL_where and the push use 2 slots of the LUA_MINSTACK that a C
    // function may count on (callers below that check the stack).
    unsafe {
        luaL_where(L, 1);
        push_bytes(L, text);
        lua_concat(L, 2);
        lua_error(L)
    }
}

/// Name of the type of the value at `idx`.
///
/// # Safety
/// `L` is a live Lua thread.
pub unsafe fn type_name(L: *mut lua_State, idx: c_int) -> &'static CStr {
    // SAFETY: Lua's type names are static C strings.
    unsafe { CStr::from_ptr(lua_typename(L, lua_type(L, idx))) }
}

/// Pushes a table with these functions, as light C functions: they cost a VM
/// their table slot and nothing else. Slots: 2. May raise (memory).
///
/// # Safety
/// `L` is a live Lua thread with two free slots.
pub unsafe fn new_library(L: *mut lua_State, functions: &[(&CStr, lua_CFunction)], extra: c_int) {
    // SAFETY: the caller vouches for L; names are NUL-terminated.
    unsafe {
        lua_createtable(L, 0, functions.len() as c_int + extra);
        for (name, function) in functions {
            lua_pushcfunction(L, *function);
            lua_setfield(L, -2, name.as_ptr());
        }
    }
}

/// The integer at `idx` if it is a number with an integer value or a string
/// that spells one, as `lua_tointegerx`. Does not raise.
///
/// # Safety
/// `L` is a live Lua thread.
pub unsafe fn integer_at(L: *mut lua_State, idx: c_int) -> Option<lua_Integer> {
    let mut is = 0;
    // SAFETY: the caller vouches for L.
    let value = unsafe { lua_tointegerx(L, idx, &mut is) };
    (is != 0).then_some(value)
}

/// Index of the `i`-th upvalue-free pointer key: an address as registry key.
///
/// The address of a static is a key that no other code can have.
pub fn key(of: &'static u8) -> *const std::ffi::c_void {
    std::ptr::from_ref(of).cast()
}

/// `"..."` bytes as the pointer that C functions want.
pub const fn c(text: &'static CStr) -> *const c_char {
    text.as_ptr()
}
