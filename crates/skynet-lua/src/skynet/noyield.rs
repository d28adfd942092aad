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
        luaL_checkstack(L, 3, std::ptr::null());
        let s = sched(vm);
        let count = lua_gettop(L) - 1;
        push_where(L);
        let place: Box<[u8]> = string_at(L, -1).unwrap_or_default().into();
        (*s).cold().noyield.push(place);
        lua_settop(L, -2);
        lua_pushcfunction(L, name_the_places);
        lua_insert(L, 1);
        (*s).noyield += 1;
        let status = lua_pcallk(L, count, LUA_MULTRET, 1, 0, None);
        (*s).noyield -= 1;
        (*s).cold().noyield.pop();
        if status != LUA_OK {
            lua_error(L);
        }
        lua_gettop(L) - 1
    }

    /// Message handler of a section: a raw `coroutine.yield` in it fails in Lua
    /// itself, with a text that says nothing of the section.
    fn name_the_places(L, vm) {
        if string_at(L, 1) == Some(b"attempt to yield across a C-call boundary")
            && lua_checkstack(L, 4) != 0
        {
            // Level 1 is `coroutine.yield`, level 2 who called it.
            luaL_where(L, 2);
            push_violation(L, vm);
            lua_concat(L, 2);
        }
        1
    }
}

/// Pushes the text of the error, without a position. Uses 2 slots; may raise.
unsafe fn push_violation(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: the place stays in the Vm while its section runs.
    unsafe {
        lua_pushstring(
            L,
            c"attempt to yield inside the no-yield section entered at ".as_ptr(),
        );
        let cold = (*sched(vm)).cold();
        let place: &[u8] = cold.noyield.last().map_or(b"?", |place| place);
        push_bytes(L, place.strip_suffix(b": ").unwrap_or(place));
        lua_concat(L, 2);
    }
}

/// Raises: something is about to yield inside a section.
#[cold]
pub(super) unsafe fn violated(L: *mut lua_State, vm: *mut Vm) -> ! {
    // SAFETY: the caller is a native function with nothing to drop; the place
    // stays in the Vm while its section runs.
    unsafe {
        push_violation(L, vm);
        fail_top(L)
    }
}
