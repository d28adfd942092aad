//! Rust values that a Lua userdata owns.
//!
//! The userdata holds a pointer to a box and, in its first word, the address of
//! a static of the class: Lua code cannot write into userdata and no other code
//! knows the address, so it tells whose userdata it is. The metatable's `__gc`
//! drops the box.

use std::ffi::c_int;
use std::ptr::null_mut;

use crate::ffi::*;

/// A type that userdata may own.
pub(super) trait Class: Default {
    /// A static of this type alone: its address marks the userdata and is the
    /// registry key of the metatable.
    fn mark() -> &'static u8;
}

#[repr(C)]
struct Owned<T> {
    mark: *const u8,
    /// From `Box::into_raw`; NULL before it is made and after it was dropped.
    value: *mut T,
}

/// The value of the userdata at `idx`; NULL if something else is there. Does not raise.
///
/// # Safety
/// `L` is a live Lua thread. The pointer is valid as long as the userdata is
/// reachable; no reference made of it may live across a call that could come back here.
pub(super) unsafe fn at<T: Class>(L: *mut lua_State, idx: c_int) -> *mut T {
    // SAFETY: the caller vouches for L; see the module comment for the mark.
    unsafe {
        if lua_type(L, idx) != LUA_TUSERDATA || lua_rawlen(L, idx) as usize != size_of::<Owned<T>>()
        {
            return null_mut();
        }
        let owned = lua_touserdata(L, idx).cast::<Owned<T>>();
        if std::ptr::eq((*owned).mark, T::mark()) {
            (*owned).value
        } else {
            null_mut()
        }
    }
}

/// Pushes a userdata with a default value and returns the value. Slots: 3. May raise (memory).
///
/// # Safety
/// `L` is a live Lua thread in a call that may raise.
pub(super) unsafe fn push<T: Class>(L: *mut lua_State) -> *mut T {
    // SAFETY: the caller vouches for L; the userdata is as large as what is
    // written, and the box is made after the last call that can raise.
    unsafe {
        let owned = lua_newuserdatauv(L, size_of::<Owned<T>>(), 0).cast::<Owned<T>>();
        owned.write(Owned {
            mark: T::mark(),
            value: null_mut(),
        });
        if lua_rawgetp(L, LUA_REGISTRYINDEX, key(T::mark())) != LUA_TTABLE {
            lua_settop(L, -2);
            lua_createtable(L, 0, 1);
            lua_pushcfunction(L, collect::<T>);
            lua_setfield(L, -2, c"__gc".as_ptr());
            lua_pushvalue(L, -1);
            lua_rawsetp(L, LUA_REGISTRYINDEX, key(T::mark()));
        }
        lua_setmetatable(L, -2);
        let value = Box::into_raw(Box::<T>::default());
        (*owned).value = value;
        value
    }
}

unsafe extern "C-unwind" fn collect<T: Class>(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the box is dropped once, because the pointer is cleared.
    unsafe {
        let value = at::<T>(L, 1);
        if !value.is_null() {
            (*lua_touserdata(L, 1).cast::<Owned<T>>()).value = null_mut();
            drop(Box::from_raw(value));
        }
    }
    0
}
