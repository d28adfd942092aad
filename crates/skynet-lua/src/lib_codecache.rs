//! Module `skynet.codecache` (spec/01-core.md §16.3).

use std::ffi::c_int;

use crate::ffi::*;
use crate::vm::vm_of;

/// The library of the VM crate, whose `clear` also forgets which modules were
/// found among the embedded files.
pub(crate) unsafe extern "C-unwind" fn luaopen_skynet_codecache(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua or the host with LUA_MINSTACK slots.
    unsafe {
        luaopen_cache(L);
        lua_pushcfunction(L, clear);
        lua_setfield(L, -2, c"clear".as_ptr());
        1
    }
}

unsafe extern "C-unwind" fn clear(L: *mut lua_State) -> c_int {
    // SAFETY: only service VMs open this module.
    unsafe { (*vm_of(L)).host().clear_cache() };
    0
}
