//! Messages for a Lua function: `skynet.core.callback` (spec/01-core.md §15.9).

use std::ffi::{CStr, c_int, c_void};
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use skynet_core::{Context, Handle, Message};

use crate::alloc::mebibytes;
use crate::ffi::*;
use crate::vm::{Callback, LuaCallback, Vm, vm_of};

/// `callback(func [, forward])`.
pub(crate) unsafe extern "C-unwind" fn set(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. What may raise comes before the Vm is changed.
    unsafe {
        luaL_checktype(L, 1, LUA_TFUNCTION);
        let forward = lua_toboolean(L, 2) != 0;
        lua_settop(L, 1);
        let thread = lua_newthread(L);
        lua_pushcfunction(thread, traceback);
        lua_pushvalue(L, 1);
        lua_xmove(L, thread, 1);
        let anchor = luaL_ref(L, LUA_REGISTRYINDEX);
        let vm = vm_of(L);
        release_old(vm);
        (*vm).old_callback = (*vm).lua_callback.replace(LuaCallback {
            thread,
            anchor,
            forward,
        });
        (*vm).callback = Callback::Lua;
    }
    0
}

/// Lets go of the callback before the present one.
///
/// # Safety
/// `vm` is live and this thread runs it.
unsafe fn release_old(vm: *mut Vm) {
    // SAFETY: freeing a reference stores an integer into an existing slot of
    // the registry, which neither allocates nor raises.
    unsafe {
        if let Some(old) = (*vm).old_callback.take() {
            luaL_unref((*vm).main, LUA_REGISTRYINDEX, old.anchor);
        }
    }
}

/// Message handler of protected calls: adds a traceback to a string.
pub(crate) unsafe extern "C-unwind" fn traceback(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with the error object at index 1.
    unsafe {
        let message = lua_tolstring(L, 1, std::ptr::null_mut());
        if message.is_null() {
            lua_pushstring(L, c"(no error message)".as_ptr());
        } else {
            luaL_traceback(L, L, message, 1);
        }
    }
    1
}

/// The message of an error, cut at its first NUL as upstream's logs have it.
///
/// # Safety
/// `L` is live, with the error object on top.
pub(crate) unsafe fn error_text(L: *mut lua_State) -> Vec<u8> {
    // SAFETY: a string's bytes are NUL-terminated and stay while it is on the stack.
    unsafe {
        if lua_type(L, -1) != LUA_TSTRING {
            return b"(no error message)".to_vec();
        }
        let pointer = lua_tolstring(L, -1, std::ptr::null_mut());
        CStr::from_ptr(pointer).to_bytes().to_vec()
    }
}

/// Calls the service's Lua function with a message.
///
/// # Safety
/// This thread runs the service of `vm`, and `vm.callback` is [`Callback::Lua`].
pub(crate) unsafe fn dispatch(vm: *mut Vm, context: &Context, message: Message) {
    let (source, session, kind) = (message.source, message.session, message.kind());
    // SAFETY: the Vm is ours for the dispatch. The payload lives on this frame,
    // which an error does not pass: the call below is protected. The callback's
    // thread has room for the arguments (a new thread has LUA_MINSTACK slots).
    unsafe {
        release_old(vm);
        let Some(callback) = (*vm).lua_callback else {
            return;
        };
        let L = callback.thread;
        let mut payload = message.payload;
        let size = payload.len();
        // In forward mode the function owns the block.
        let pointer: *const c_void = if callback.forward {
            std::mem::take(&mut payload).into_malloc().0
        } else {
            payload.as_ptr().cast()
        };
        lua_settop(L, 2);
        lua_pushvalue(L, 2);
        lua_pushinteger(L, lua_Integer::from(kind));
        lua_pushlightuserdata(L, pointer.cast_mut());
        lua_pushinteger(L, size as lua_Integer);
        lua_pushinteger(L, lua_Integer::from(session));
        lua_pushinteger(L, lua_Integer::from(source));
        let before = (*vm).running.swap(L, Ordering::Relaxed);
        let status = lua_pcall(L, 5, 0, 1);
        (*vm).running.store(before, Ordering::Relaxed);
        if status != LUA_OK {
            report(vm, context, L, status, (source, session, size));
        }
        // The callback may have been replaced meanwhile; its thread is still anchored.
        lua_settop(L, 2);
    }
}

/// The log line of a message that ran out of memory, with the limit if there is one.
///
/// # Safety
/// This thread runs the service of `vm`.
pub(crate) unsafe fn memory_error(
    vm: *mut Vm,
    context: &Context,
    source: Handle,
    session: i32,
) -> String {
    let me = context.handle();
    let mut line = format!("lua memory error : [{source:x} to :{me:x} : {session}]");
    // SAFETY: the caller's contract.
    let memory = unsafe { (*vm).memory };
    if memory.limit != 0 {
        // Writing to a String does not fail.
        let _ = write!(
            line,
            "\nservice :{me:08x} uses {:.2} M of its limit of {:.2} M",
            mebibytes(memory.bytes),
            mebibytes(memory.limit)
        );
    }
    line
}

/// Logs an error of the callback, which is on top of `L`.
#[cold]
unsafe fn report(
    vm: *mut Vm,
    context: &Context,
    L: *mut lua_State,
    status: c_int,
    (source, session, size): (u32, i32, usize),
) {
    let place = format!("[{source:x} to :{:x} : {session}", context.handle());
    let line = match status {
        // SAFETY: the Vm is ours.
        LUA_ERRMEM => unsafe { memory_error(vm, context, source, session) }.into_bytes(),
        LUA_ERRERR => format!("lua error in error : {place}]").into_bytes(),
        _ => {
            let mut line =
                format!("lua call {place} msgsz = {size}] error : \u{1b}[31m").into_bytes();
            // SAFETY: the error object is on top.
            line.extend_from_slice(&unsafe { error_text(L) });
            line.extend_from_slice(b"\x1b[0m");
            line
        }
    };
    context.log(line);
}
