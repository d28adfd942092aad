//! The parts of module `skynet` that are written in Lua and loaded when one of
//! their functions is called the first time.

use std::ffi::{CStr, c_int};

use super::tools::*;
use super::{answer, native};
use crate::ffi::*;
use crate::vm::Vm;

/// Pushes `package.loaded[name]`, requiring it if need be (which must not yield). Slots: 3.
pub(super) unsafe fn push_loaded(L: *mut lua_State, name: &CStr) {
    // SAFETY: called by native functions with free slots.
    unsafe {
        lua_getfield(L, LUA_REGISTRYINDEX, c"_LOADED".as_ptr());
        if lua_getfield(L, -1, name.as_ptr()) == LUA_TNIL {
            lua_settop(L, -2);
            lua_getglobal(L, c"require".as_ptr());
            lua_pushstring(L, name.as_ptr());
            lua_callk(L, 1, 1, 0, None);
        }
        lua_remove(L, -2);
    }
}

/// A part: its key among the loaded ones, chunk name and source.
struct Part {
    number: i64,
    chunk: &'static CStr,
    source: &'static str,
}

static SELECT: Part = Part {
    number: 1,
    chunk: c"@lualib/skynet/native/select.lua",
    source: include_str!("../../../../lualib/skynet/native/select.lua"),
};
static TASK: Part = Part {
    number: 2,
    chunk: c"@lualib/skynet/native/task.lua",
    source: include_str!("../../../../lualib/skynet/native/task.lua"),
};
static SERVICES: Part = Part {
    number: 3,
    chunk: c"@lualib/skynet/native/services.lua",
    source: include_str!("../../../../lualib/skynet/native/services.lua"),
};
static DEBUG: Part = Part {
    number: 4,
    chunk: c"@lualib/skynet/native/debug.lua",
    source: include_str!("../../../../lualib/skynet/native/debug.lua"),
};

/// Pushes the table of functions of a part. May raise.
unsafe fn push_part(L: *mut lua_State, vm: *mut Vm, part: &Part) {
    // SAFETY: called by native functions with free slots; the sources are static.
    unsafe {
        let s = sched(vm);
        push_table(L, &raw mut (*s).refs.lazy, false);
        if lua_rawgeti(L, -1, part.number) == LUA_TTABLE {
            lua_remove(L, -2);
            return;
        }
        lua_settop(L, -2);
        let status = skl_loadembedded(
            L,
            part.chunk.as_ptr(),
            part.source.as_ptr().cast(),
            part.source.len(),
            part.chunk.as_ptr(),
        );
        if status != LUA_OK {
            lua_error(L);
        }
        push_ref(L, (*s).refs.module);
        native::push(L);
        lua_callk(L, 2, 1, 0, None);
        // parts, part
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, part.number);
        lua_remove(L, -2);
    }
}

/// Calls the function `name` of a part with the arguments on the stack.
unsafe fn forward(L: *mut lua_State, vm: *mut Vm, part: &Part, name: &CStr) -> c_int {
    // SAFETY: called by native functions as their last act.
    unsafe {
        let count = lua_gettop(L);
        luaL_checkstack(L, 10, std::ptr::null());
        push_part(L, vm, part);
        lua_getfield(L, -1, name.as_ptr());
        lua_remove(L, -2);
        lua_insert(L, 1);
        lua_callk(L, count, LUA_MULTRET, 0, Some(answer::all));
        lua_gettop(L)
    }
}

lua_functions! {
    pub(super) fn request(L, vm) { forward(L, vm, &SELECT, c"request") }
    pub(super) fn task(L, vm) { forward(L, vm, &TASK, c"task") }
    pub(super) fn uniqtask(L, vm) { forward(L, vm, &TASK, c"uniqtask") }
    pub(super) fn uniqueservice(L, vm) { forward(L, vm, &SERVICES, c"uniqueservice") }
    pub(super) fn queryservice(L, vm) { forward(L, vm, &SERVICES, c"queryservice") }

    /// The dispatch function of protocol `debug` until the first message of it.
    pub(super) fn debug_dispatch(L, vm) { forward(L, vm, &DEBUG, c"dispatch") }
}
