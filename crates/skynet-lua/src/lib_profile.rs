//! Module `skynet.profile`, and `coroutine.resume`/`wrap`, which are its
//! functions (spec/01-core.md §14.5).
//!
//! The two weak tables of running profiles are made by the first `start`; until
//! then `resume` costs what Lua's own does.

use std::ffi::c_int;

use skynet_core::thread_cpu_ns;

use crate::ffi::*;
use crate::vm::{self, Vm, vm_of};

/// Registry keys of the tables thread -> start time, thread -> total.
static START: u8 = 0;
static TOTAL: u8 = 1;

/// Opens the module.
pub(crate) unsafe extern "C-unwind" fn luaopen_skynet_profile(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua or the host with LUA_MINSTACK slots.
    unsafe {
        new_library(
            L,
            &[
                (c"start", start),
                (c"stop", stop),
                (c"resume", resume),
                (c"wrap", wrap),
            ],
            0,
        );
    }
    1
}

/// Replaces `coroutine.resume` and `coroutine.wrap`. Slots: 2. May raise (memory).
///
/// # Safety
/// `L` is the main thread of a service's VM whose libraries are open.
pub(crate) unsafe fn replace_coroutine(L: *mut lua_State) {
    // SAFETY: the caller vouches for L.
    unsafe {
        lua_getglobal(L, c"coroutine".as_ptr());
        lua_pushcfunction(L, resume);
        lua_setfield(L, -2, c"resume".as_ptr());
        lua_pushcfunction(L, wrap);
        lua_setfield(L, -2, c"wrap".as_ptr());
        lua_settop(L, -2);
    }
}

/// Thread CPU seconds; they wrap, as upstream's.
fn now() -> f64 {
    let ns = thread_cpu_ns();
    let seconds = (ns / 1_000_000_000) % 0x1_0000;
    seconds as f64 + (ns % 1_000_000_000) as f64 / 1e9
}

fn elapsed(since: f64) -> f64 {
    let span = now() - since;
    if span < 0.0 { span + 65536.0 } else { span }
}

/// Pushes a profile table. May raise (memory).
unsafe fn push_table(L: *mut lua_State, which: &'static u8) {
    // SAFETY: the caller has three slots.
    unsafe {
        if lua_rawgetp(L, LUA_REGISTRYINDEX, key(which)) == LUA_TTABLE {
            return;
        }
        lua_settop(L, -2);
        lua_createtable(L, 0, 1);
        lua_createtable(L, 0, 1);
        lua_pushstring(L, c"k".as_ptr());
        lua_setfield(L, -2, c"__mode".as_ptr());
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, key(which));
    }
}

/// The thread that is meant: an explicit argument, or the caller. Leaves it at index 1.
unsafe fn subject(L: *mut lua_State) -> *mut lua_State {
    // SAFETY: called by a native function with its own stack.
    unsafe {
        if lua_gettop(L) != 0 {
            lua_settop(L, 1);
            luaL_checktype(L, 1, LUA_TTHREAD);
        } else {
            lua_pushthread(L);
        }
        lua_tothread(L, 1)
    }
}

/// Stores a number for the thread at index 1 in a table. May raise.
unsafe fn set(L: *mut lua_State, which: &'static u8, value: Option<f64>) {
    // SAFETY: as `subject`.
    unsafe {
        push_table(L, which);
        lua_pushvalue(L, 1);
        match value {
            Some(value) => lua_pushnumber(L, value),
            None => lua_pushnil(L),
        }
        lua_rawset(L, -3);
        lua_settop(L, -2);
    }
}

/// The number of the thread at index 1 in a table. May raise.
unsafe fn get(L: *mut lua_State, which: &'static u8) -> Option<f64> {
    // SAFETY: as `subject`.
    unsafe {
        push_table(L, which);
        lua_pushvalue(L, 1);
        let found = lua_rawget(L, -2) == LUA_TNUMBER;
        let value = lua_tonumber(L, -1);
        lua_settop(L, -3);
        found.then_some(value)
    }
}

unsafe extern "C-unwind" fn start(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let thread = subject(L);
        if get(L, &START).is_some() {
            luaL_error(
                L,
                c"Thread %p start profile more than once".as_ptr(),
                thread.cast::<std::ffi::c_void>(),
            );
        }
        set(L, &TOTAL, Some(0.0));
        set(L, &START, Some(now()));
        (*vm_of(L)).profiling = true;
    }
    0
}

unsafe extern "C-unwind" fn stop(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        subject(L);
        let Some(since) = get(L, &START) else {
            raise(L, b"Call profile.start() before profile.stop()");
        };
        let total = get(L, &TOTAL).unwrap_or(0.0) + elapsed(since);
        set(L, &START, None);
        set(L, &TOTAL, None);
        lua_pushnumber(L, total);
    }
    1
}

/// Before a resume: the clock of `co` runs from here, if it is profiled. May raise.
#[cold]
pub(crate) unsafe fn profile_in(L: *mut lua_State, co: *mut lua_State) -> bool {
    // SAFETY: the caller has a C function's stack, of which 6 slots are asked
    // for; `co` is pushed so that it can be a key.
    unsafe {
        luaL_checkstack(L, 8, std::ptr::null());
        push_table(L, &START);
        push_thread(L, co);
        let profiled = lua_rawget(L, -2) != LUA_TNIL;
        if profiled {
            push_thread(L, co);
            lua_pushnumber(L, now());
            lua_rawset(L, -4);
        }
        lua_settop(L, -3);
        profiled
    }
}

/// After it: adds what it took.
#[cold]
pub(crate) unsafe fn profile_out(L: *mut lua_State, co: *mut lua_State) {
    // SAFETY: as `profile_in`. A thread that stopped its profile has no entry.
    unsafe {
        luaL_checkstack(L, 8, std::ptr::null());
        push_table(L, &START);
        push_thread(L, co);
        let since = (lua_rawget(L, -2) == LUA_TNUMBER).then(|| lua_tonumber(L, -1));
        lua_settop(L, -3);
        let Some(since) = since else { return };
        push_table(L, &TOTAL);
        push_thread(L, co);
        lua_rawget(L, -2);
        let total = lua_tonumber(L, -1) + elapsed(since);
        lua_settop(L, -2);
        push_thread(L, co);
        lua_pushnumber(L, total);
        lua_rawset(L, -3);
        lua_settop(L, -2);
    }
}

/// Pushes another thread of the VM.
unsafe fn push_thread(L: *mut lua_State, co: *mut lua_State) {
    // SAFETY: both live in the same VM; `co` has room for one value (it has
    // its own extra slots, and is asked).
    unsafe {
        if lua_checkstack(co, 1) == 0 {
            raise(L, b"stack overflow");
        }
        lua_pushthread(co);
        if !std::ptr::eq(L, co) {
            lua_xmove(co, L, 1);
        }
    }
}

/// As Lua's `auxresume`: the arguments are on top of `L`; returns how many
/// results are there instead, or -1 for an error object.
unsafe fn resume_with(L: *mut lua_State, co: *mut lua_State, nargs: c_int) -> c_int {
    // SAFETY: `co` is a thread of the VM of `L`, kept alive by the caller's stack.
    unsafe {
        let vm: *mut Vm = vm_of(L);
        if lua_checkstack(co, nargs) == 0 {
            lua_pushstring(L, c"too many arguments to resume".as_ptr());
            return -1;
        }
        let profiled = (*vm).profiling && profile_in(L, co);
        lua_xmove(L, co, nargs);
        let mut nresults = 0;
        let status = vm::resume(vm, co, L, nargs, &mut nresults);
        if profiled || (*vm).profiling {
            // Also where the profile began in this run.
            profile_out(L, co);
        }
        if status == LUA_OK || status == LUA_YIELD {
            if lua_checkstack(L, nresults + 1) == 0 {
                lua_settop(co, -nresults - 1);
                lua_pushstring(L, c"too many results to resume".as_ptr());
                return -1;
            }
            lua_xmove(co, L, nresults);
            nresults
        } else {
            lua_xmove(co, L, 1);
            -1
        }
    }
}

/// `coroutine.resume`.
pub(crate) unsafe extern "C-unwind" fn resume(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let co = lua_tothread(L, 1);
        if co.is_null() {
            luaL_checktype(L, 1, LUA_TTHREAD);
        }
        let results = resume_with(L, co, lua_gettop(L) - 1);
        if results < 0 {
            lua_pushboolean(L, 0);
            lua_rotate(L, -2, 1);
            2
        } else {
            lua_pushboolean(L, 1);
            lua_rotate(L, -(results + 1), 1);
            results + 1
        }
    }
}

unsafe extern "C-unwind" fn wrapped(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; upvalue 1 is the thread that `wrap` made.
    unsafe {
        let co = lua_tothread(L, lua_upvalueindex(1));
        let results = resume_with(L, co, lua_gettop(L));
        if results >= 0 {
            return results;
        }
        let mut status = lua_status(co);
        if status != LUA_OK && status != LUA_YIELD {
            // Close its variables. The error object stays on its stack too:
            // calling the dead function again then says that it cannot call
            // such a value, as upstream does.
            status = lua_closethread(co, L);
            if lua_checkstack(co, 1) != 0 {
                lua_pushvalue(co, -1);
            }
            lua_xmove(co, L, 1);
        }
        if status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING {
            luaL_where(L, 1);
            lua_rotate(L, -2, 1);
            lua_concat(L, 2);
        }
        lua_error(L)
    }
}

/// `coroutine.wrap`.
pub(crate) unsafe extern "C-unwind" fn wrap(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        luaL_checktype(L, 1, LUA_TFUNCTION);
        let co = lua_newthread(L);
        lua_pushvalue(L, 1);
        lua_xmove(L, co, 1);
        lua_pushcclosure(L, wrapped, 1);
    }
    1
}
