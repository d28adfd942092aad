//! `skynet.noyield(f, ...)`: a section in which state cannot change under
//! one's feet, because yielding in it is an error. Ours.

use super::tools::*;
use crate::ffi::*;
use crate::vm::Vm;

lua_functions! {
    /// `skynet.noyield(f, ...)`: the results of `f(...)`. A skynet function
    /// that would yield raises an error that names both places.
    pub(super) fn noyield(L, vm) {
        luaL_checkany(L, 1);
        luaL_checkstack(L, 2, std::ptr::null());
        let s = sched(vm);
        let count = lua_gettop(L) - 1;
        push_where(L);
        let place: Box<[u8]> = string_at(L, -1).unwrap_or_default().into();
        (*s).cold().noyield.push(place);
        lua_settop(L, -2);
        (*s).noyield += 1;
        let status = lua_pcallk(L, count, LUA_MULTRET, 0, 0, None);
        (*s).noyield -= 1;
        (*s).cold().noyield.pop();
        if status != LUA_OK {
            lua_error(L);
        }
        lua_gettop(L)
    }
}

/// Raises: something is about to yield inside a section.
#[cold]
pub(super) unsafe fn violated(L: *mut lua_State, vm: *mut Vm) -> ! {
    // SAFETY: the caller is a native function with nothing to drop; the place
    // stays in the Vm while its section runs.
    unsafe {
        lua_pushstring(
            L,
            c"attempt to yield inside the no-yield section entered at ".as_ptr(),
        );
        let cold = (*sched(vm)).cold();
        let place: &[u8] = cold.noyield.last().map_or(b"?", |place| place);
        push_bytes(L, place.strip_suffix(b": ").unwrap_or(place));
        lua_concat(L, 2);
        fail_top(L)
    }
}
