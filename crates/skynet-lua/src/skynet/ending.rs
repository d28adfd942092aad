//! How a framework coroutine stops: with its request forgotten, a yield that is not
//! ours, an error, or closed from outside.

use super::coro::*;
use super::state::{Coro, NONE, State, Yielded, flag};
use super::tools::*;
use super::trace;
use crate::ffi::*;
use crate::vm::{self, Vm};
use std::ffi::c_int;
use std::ptr::null_mut;

/// The main function returned while more than its request is to be cleared.
pub(super) unsafe fn finish(L: *mut lua_State, vm: *mut Vm, index: u32) {
    // SAFETY: as `run`.
    unsafe {
        let s = sched(vm);
        let coro = (&(*s).coros)[index as usize];
        if coro.flags & flag::OWES != 0 && coro.session != 0 {
            forgotten(vm, coro);
        }
        if coro.flags & flag::TRACED != 0 {
            trace::line(L, vm, index, b"end", None);
        }
        forget_request(vm, index);
        went_well(vm, index, LUA_OK, 0);
    }
}

/// Logs that a request was left without an answer (spec/02-lua-api.md §2.4).
#[cold]
pub(super) unsafe fn forgotten(vm: *mut Vm, coro: Coro) {
    // SAFETY: the main function is at index 1 of the thread, which rests.
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        let mut place = String::new();
        if lua_type(coro.thread, 1) == LUA_TFUNCTION && lua_checkstack(coro.thread, 1) != 0 {
            lua_pushvalue(coro.thread, 1);
            lua_getinfo(coro.thread, c">S".as_ptr(), &mut ar);
            let source = std::slice::from_raw_parts(ar.source.cast::<u8>(), ar.srclen);
            place = format!("{}:{}", String::from_utf8_lossy(source), ar.linedefined);
        }
        context(vm).log(format!(
            "Maybe forgot response session {} from :{:08x} : {place}",
            coro.session, coro.source
        ));
    }
}

/// A coroutine stopped otherwise than [`went_well`] expects. Returns whether
/// wakeups and failures are handled now.
#[cold]
pub(super) unsafe fn stopped(
    L: *mut lua_State,
    vm: *mut Vm,
    index: u32,
    status: c_int,
    results: c_int,
) -> bool {
    // SAFETY: as `run`; the thread rests after its yield or error.
    unsafe {
        let s = sched(vm);
        if status == LUA_OK {
            finish(L, vm, index);
            return true;
        }
        if status != LUA_YIELD {
            died(L, vm, index, status);
            return false;
        }
        if (*s).yielded == Yielded::Quit && results == 0 {
            close(L, vm, index);
            return false;
        }
        lua_pushcfunction(L, strange_yield);
        lua_pushinteger(L, lua_Integer::from(index));
        lua_pushinteger(L, lua_Integer::from(results));
        if lua_pcallk(L, 2, 1, 0, 0, None) == LUA_OK {
            let suspended = lua_toboolean(L, -1) != 0;
            lua_settop(L, -2);
            return suspended;
        }
        // No memory for it. Whoever asked is told, the coroutine is lost.
        lua_settop(L, -2);
        (*s).memory_error = true;
        if (&(*s).coros)[index as usize].state == State::Running {
            refuse(vm, index, b"not enough memory");
            wake_rest(vm);
            close(L, vm, index);
        }
        false
    }
}

/// Arguments: a coroutine that yielded, not as ours do, and the number of values.
pub(super) unsafe extern "C-unwind" fn strange_yield(L: *mut lua_State) -> c_int {
    // SAFETY: called by `stopped`.
    unsafe {
        let vm = vm::vm_of(L);
        let index = lua_tointegerx(L, 1, null_mut()) as u32;
        let results = lua_tointegerx(L, 2, null_mut()) as c_int;
        let suspended = settle_yield(L, vm, index, results);
        lua_pushboolean(L, c_int::from(suspended));
    }
    1
}

/// As [`stopped`]; may raise (memory).
pub(super) unsafe fn settle_yield(
    L: *mut lua_State,
    vm: *mut Vm,
    index: u32,
    results: c_int,
) -> bool {
    // SAFETY: as `stopped`.
    unsafe {
        let s = sched(vm);
        let thread = (&(*s).coros)[index as usize].thread;
        if results == 0 {
            super::park::park(L, vm, index);
            return false;
        }
        // Values: from a nested coroutine or from user code.
        let first = lua_gettop(thread) - results + 1;
        let text: &[u8] = match string_at(thread, first) {
            Some(b"SUSPEND") => {
                lua_settop(thread, first - 1);
                (&mut (*s).coros)[index as usize].state = State::Suspended;
                return true;
            }
            Some(b"QUIT") => {
                close(L, vm, index);
                return false;
            }
            Some(b"USER") => b"Call skynet.coroutine.yield out of skynet.coroutine.resume",
            _ => {
                // Only numbers become strings without calling user code.
                lua_pushstring(L, c"Unknown command : ".as_ptr());
                if lua_checkstack(thread, 1) != 0 {
                    lua_pushvalue(thread, first);
                    lua_xmove(thread, L, 1);
                } else {
                    lua_pushnil(L);
                }
                luaL_tolstring(L, -1, null_mut());
                lua_remove(L, -2);
                lua_concat(L, 2);
                report_traceback(L, vm, thread);
                drop_coro(L, vm, index);
                return false;
            }
        };
        push_bytes(L, text);
        report_traceback(L, vm, thread);
        // It stays suspended for ever.
        drop_coro(L, vm, index);
        false
    }
}

/// Takes the text on the top, with the traceback of a thread, as an error of
/// this message, and pops it. Without memory for the traceback the text must do.
pub(super) unsafe fn report_traceback(L: *mut lua_State, vm: *mut Vm, thread: *mut lua_State) {
    unsafe extern "C-unwind" fn traceback(L: *mut lua_State) -> c_int {
        // SAFETY: called below: a thread that rests, and a string.
        unsafe {
            let thread = lua_touserdata(L, 1).cast::<lua_State>();
            luaL_traceback(L, thread, lua_tolstring(L, 2, null_mut()), 0);
        }
        1
    }
    // SAFETY: the text on the top is a string; the caller left three slots.
    unsafe {
        let text = lua_gettop(L);
        lua_pushcfunction(L, traceback);
        lua_pushlightuserdata(L, thread.cast());
        lua_pushvalue(L, text);
        let with_traceback = lua_pcallk(L, 2, 1, 0, 0, None) == LUA_OK;
        let best = if with_traceback { -1 } else { text };
        add_error(vm, string_at(L, best).unwrap_or_default());
        lua_settop(L, text - 1);
    }
}

/// Joins an error text to those of this message.
pub(super) unsafe fn add_error(vm: *mut Vm, text: &[u8]) {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let errors = &mut (*sched(vm)).errors;
        if !errors.is_empty() {
            errors.push(b'\n');
        }
        errors.extend_from_slice(text);
        if text.is_empty() {
            errors.push(b' ');
        }
    }
}

/// A coroutine raised an error: its caller is told, the text goes to the log,
/// its to-be-closed variables see the error.
pub(super) unsafe fn died(L: *mut lua_State, vm: *mut Vm, index: u32, status: c_int) {
    // SAFETY: as `run`; the error object is on the thread's top.
    unsafe {
        let s = sched(vm);
        let coro = (&(*s).coros)[index as usize];
        let owes = coro.flags & flag::OWES != 0 && coro.session != 0;
        // It is not answered a second time if something below raises.
        (&mut (*s).coros)[index as usize].flags &= !flag::OWES;
        // The start function's own errors are reported by `init_service`: this
        // one had no memory for that, or to begin.
        if (*s).init == index {
            (*s).memory_error |= status == LUA_ERRMEM;
            wake_rest(vm);
            super::start::failed(L, vm, coro.thread, status);
            close(L, vm, index);
            return;
        }
        if status == LUA_ERRMEM {
            (*s).memory_error = true;
            if owes {
                reply_error(vm, coro.source, coro.session, b"not enough memory");
            }
            if coro.flags & flag::SELECT != 0 {
                super::select::again(vm, coro.session);
            }
            wake_rest(vm);
            close(L, vm, index);
            return;
        }
        // Nothing here raises before the caller is told and the coroutine closed.
        let known = text_of_error(L, coro.thread);
        let text = if known {
            string_at(L, -1).unwrap_or_default()
        } else {
            b"(the error object cannot be converted to a string)"
        };
        if owes {
            if coro.flags & flag::TRACED != 0 {
                trace::line(L, vm, index, b"error", None);
            }
            reply_error(vm, coro.source, coro.session, text);
        }
        wake_rest(vm);
        if known {
            report_traceback(L, vm, coro.thread);
        } else {
            add_error(vm, text);
        }
        close(L, vm, index);
    }
}

/// Pushes the error object of a dead thread as text; false (and nothing
/// pushed) if it has none. Calls `__tostring`, in protected mode.
pub(super) unsafe fn text_of_error(L: *mut lua_State, thread: *mut lua_State) -> bool {
    unsafe extern "C-unwind" fn to_string(L: *mut lua_State) -> c_int {
        // SAFETY: Lua calls this with one argument.
        unsafe {
            luaL_tolstring(L, 1, null_mut());
        }
        1
    }
    // SAFETY: the caller has two slots on L; the thread is asked for one.
    unsafe {
        if lua_checkstack(thread, 1) == 0 {
            return false;
        }
        lua_pushcfunction(L, to_string);
        lua_pushvalue(thread, -1);
        lua_xmove(thread, L, 1);
        if lua_pcallk(L, 1, 1, 0, 0, None) != LUA_OK || lua_type(L, -1) != LUA_TSTRING {
            lua_settop(L, -2);
            return false;
        }
        true
    }
}

/// After an error an empty fork makes the remaining wakeups run.
pub(super) unsafe fn wake_rest(vm: *mut Vm) {
    // SAFETY: as `run`.
    unsafe {
        (*sched(vm)).forks.push_back(NONE);
    }
}

/// Closes a coroutine, running its to-be-closed variables, and gives it up.
/// Errors of these are ignored. Returns the thread's status.
pub(super) unsafe fn close(L: *mut lua_State, vm: *mut Vm, index: u32) -> c_int {
    // SAFETY: as `run`; the thread is not running. Its variables may call any
    // native function, so the slab is read anew afterwards.
    unsafe {
        let s = sched(vm);
        let thread = (&(*s).coros)[index as usize].thread;
        (&mut (*s).coros)[index as usize].state = State::Running;
        let status = lua_closethread(thread, L);
        drop_coro(L, vm, index);
        status
    }
}
