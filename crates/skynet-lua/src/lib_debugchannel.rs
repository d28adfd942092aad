//! Module `skynet.debugchannel` (spec/02-lua-api.md §14.4): a queue of texts
//! between two services, and line hooks that stop a coroutine.

use std::collections::{HashMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::ffi::*;
use crate::lib_core::caught;
use crate::vm::{node_of, vm_of};

/// The unit of `read`'s argument.
const TENTH: Duration = Duration::from_millis(100);

/// The longest that `read` blocks its worker.
const LONGEST: i64 = 600;

/// A queue of texts; both ends write to it and read from it.
#[derive(Debug, Default)]
struct Channel {
    texts: Mutex<VecDeque<Vec<u8>>>,
    written: Condvar,
}

/// The channels of a node that wait for their second end, by the number that
/// travels between services as a light userdata.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    open: Mutex<HashMap<usize, Arc<Channel>>>,
    last: AtomicUsize,
}

/// One end, in a userdata of its VM.
struct End {
    channel: Arc<Channel>,
    /// Its number while the other end may still connect.
    number: usize,
}

/// Registry key of the table thread -> hook function.
static HOOKS: u8 = 0;

/// Name of the metatable of ends.
const END: &std::ffi::CStr = c"DEBUGCHANNEL";

/// Opens the module.
pub(crate) unsafe extern "C-unwind" fn luaopen_skynet_debugchannel(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with LUA_MINSTACK slots.
    unsafe {
        new_library(
            L,
            &[
                (c"create", create),
                (c"connect", connect),
                (c"release", release),
                (c"sethook", sethook),
            ],
            0,
        );
    }
    1
}

/// Pushes an end without a channel; returns its place. May raise (memory).
unsafe fn push_end(L: *mut lua_State) -> *mut *mut End {
    // SAFETY: called by native functions with free slots. The pointer is NULL
    // until the caller fills it in, so the finalizer is safe from the start.
    unsafe {
        let place = lua_newuserdatauv(L, size_of::<*mut End>(), 0).cast::<*mut End>();
        place.write(null_mut());
        if lua_getfield(L, LUA_REGISTRYINDEX, END.as_ptr()) == LUA_TNIL {
            // Known by its name when all of it is there: any step may raise.
            lua_settop(L, -2);
            lua_createtable(L, 0, 3);
            lua_pushstring(L, END.as_ptr());
            lua_setfield(L, -2, c"__name".as_ptr());
            lua_createtable(L, 0, 2);
            lua_pushcfunction(L, read);
            lua_setfield(L, -2, c"read".as_ptr());
            lua_pushcfunction(L, write);
            lua_setfield(L, -2, c"write".as_ptr());
            lua_setfield(L, -2, c"__index".as_ptr());
            lua_pushcfunction(L, release);
            lua_setfield(L, -2, c"__gc".as_ptr());
            lua_pushvalue(L, -1);
            lua_setfield(L, LUA_REGISTRYINDEX, END.as_ptr());
        }
        lua_setmetatable(L, -2);
        place
    }
}

/// The end at index 1, or raises. It is live until `release`.
unsafe fn end<'a>(L: *mut lua_State) -> &'a End {
    // SAFETY: the userdata is one of `push_end`; its box is freed by `release` only.
    unsafe {
        let place = luaL_checkudata(L, 1, END.as_ptr()).cast::<*mut End>();
        match place.read().as_ref() {
            Some(end) => end,
            None => raise(L, b"the channel is released"),
        }
    }
}

unsafe extern "C-unwind" fn create(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua in a service's VM; the box belongs to the userdata.
    unsafe {
        let place = push_end(L);
        let Some(channels) = node_of(L).extension::<Channels>() else {
            raise(L, b"the node has no debug channels");
        };
        let number = caught(L, || {
            let channel = Arc::new(Channel::default());
            let number = channels.last.fetch_add(1, Ordering::Relaxed) + 1;
            channels.open.lock().insert(number, channel.clone());
            place.write(Box::into_raw(Box::new(End { channel, number })));
            number
        });
        lua_pushlightuserdata(L, number as *mut c_void);
    }
    2
}

unsafe extern "C-unwind" fn connect(L: *mut lua_State) -> c_int {
    // SAFETY: as `create`. The pointer is a number to look up, nothing else.
    unsafe {
        let number = lua_touserdata(L, 1) as usize;
        if number == 0 || lua_type(L, 1) != LUA_TLIGHTUSERDATA {
            raise(L, b"Invalid channel pointer");
        }
        let place = push_end(L);
        let found = caught(L, || {
            let channels = node_of(L).extension::<Channels>();
            let channel = channels.and_then(|channels| channels.open.lock().remove(&number));
            let Some(channel) = channel else {
                return false;
            };
            place.write(Box::into_raw(Box::new(End { channel, number: 0 })));
            true
        });
        if !found {
            raise(L, b"new channel failed");
        }
    }
    1
}

unsafe extern "C-unwind" fn release(L: *mut lua_State) -> c_int {
    // SAFETY: the place holds NULL or the box made for it, which is taken out once.
    unsafe {
        let place = luaL_checkudata(L, 1, END.as_ptr()).cast::<*mut End>();
        let pointer = place.replace(null_mut());
        if !pointer.is_null() {
            let end = Box::from_raw(pointer);
            if end.number != 0
                && let Some(channels) = node_of(L).extension::<Channels>()
            {
                channels.open.lock().remove(&end.number);
            }
        }
    }
    0
}

unsafe extern "C-unwind" fn write(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the text is on the stack.
    unsafe {
        let end = end(L);
        let mut len = 0;
        let pointer = luaL_checklstring(L, 2, &mut len);
        let text: &[u8] = std::slice::from_raw_parts(pointer.cast(), len);
        caught(L, || {
            end.channel.texts.lock().push_back(text.to_vec());
            end.channel.written.notify_one();
        });
    }
    0
}

/// `read([t])`: blocks the worker for at most `t` tenths of a second. Under the
/// deterministic driver nobody could write meanwhile, so it does not wait.
unsafe extern "C-unwind" fn read(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. The text goes through the Vm, so a failing push
    // leaves it there.
    unsafe {
        let end = end(L);
        let mut tenths = luaL_optinteger(L, 2, 0).clamp(0, LONGEST) as u32;
        if node_of(L).sim().is_some() {
            tenths = 0;
        }
        let vm = vm_of(L);
        let found = caught(L, || {
            let until = Instant::now() + TENTH * tenths;
            let mut texts = end.channel.texts.lock();
            while texts.is_empty() && tenths > 0 {
                if end
                    .channel
                    .written
                    .wait_until(&mut texts, until)
                    .timed_out()
                {
                    break;
                }
            }
            match texts.pop_front() {
                Some(text) => {
                    (*vm).text = text;
                    true
                }
                None => false,
            }
        });
        if !found {
            return 0;
        }
        push_bytes(L, &(*vm).text);
    }
    1
}

/// `sethook([co,] f, mask [, count])`: as `debug.sethook`, but the coroutine
/// yields, without values, when `f(event, line)` returns true.
unsafe extern "C-unwind" fn sethook(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the thread is kept by the caller's stack.
    unsafe {
        let at = c_int::from(lua_type(L, 1) == LUA_TTHREAD);
        let thread = if at == 1 { lua_tothread(L, 1) } else { L };
        lua_settop(L, at + 3);
        let remove = lua_type(L, at + 1) <= LUA_TNIL;
        let mut mask = 0;
        let count = luaL_optinteger(L, at + 3, 0) as c_int;
        if !remove {
            luaL_checktype(L, at + 1, LUA_TFUNCTION);
            luaL_checkstring(L, at + 2);
            for byte in string_at(L, at + 2).unwrap_or_default() {
                mask |= match byte {
                    b'c' => LUA_MASKCALL,
                    b'r' => LUA_MASKRET,
                    b'l' => LUA_MASKLINE,
                    _ => 0,
                };
            }
            if count > 0 {
                mask |= LUA_MASKCOUNT;
            }
        }
        push_hooks(L);
        if at == 1 {
            lua_pushvalue(L, 1);
        } else {
            lua_pushthread(L);
        }
        if remove {
            lua_pushnil(L);
        } else {
            lua_pushvalue(L, at + 1);
        }
        lua_rawset(L, -3);
        if remove {
            lua_sethook(thread, None, 0, 0);
        } else {
            lua_sethook(thread, Some(hook), mask, count);
        }
    }
    0
}

/// Pushes the weak table of hook functions. May raise (memory).
unsafe fn push_hooks(L: *mut lua_State) {
    // SAFETY: called with three free slots.
    unsafe {
        if lua_rawgetp(L, LUA_REGISTRYINDEX, key(&HOOKS)) == LUA_TTABLE {
            return;
        }
        lua_settop(L, -2);
        lua_createtable(L, 0, 1);
        lua_createtable(L, 0, 1);
        lua_pushstring(L, c"k".as_ptr());
        lua_setfield(L, -2, c"__mode".as_ptr());
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, key(&HOOKS));
    }
}

/// Events by their number.
const EVENTS: [&std::ffi::CStr; 5] = [c"call", c"return", c"line", c"count", c"tail call"];

unsafe extern "C-unwind" fn hook(L: *mut lua_State, ar: *mut lua_Debug) {
    // SAFETY: Lua calls hooks with LUA_MINSTACK free slots and a filled-in
    // record; only line and count hooks may yield, without values.
    unsafe {
        let event = (*ar).event;
        if lua_rawgetp(L, LUA_REGISTRYINDEX, key(&HOOKS)) != LUA_TTABLE {
            lua_settop(L, -2);
            return;
        }
        lua_pushthread(L);
        if lua_rawget(L, -2) != LUA_TFUNCTION {
            lua_settop(L, -3);
            return;
        }
        lua_pushstring(L, EVENTS.get(event as usize).unwrap_or(&c"?").as_ptr());
        if (*ar).currentline >= 0 {
            lua_pushinteger(L, lua_Integer::from((*ar).currentline));
        } else {
            lua_pushnil(L);
        }
        lua_callk(L, 2, 1, 0, None);
        let stop = lua_toboolean(L, -1) != 0;
        lua_settop(L, -3);
        if stop && (event == LUA_HOOKLINE || event == LUA_HOOKCOUNT) && lua_isyieldable(L) != 0 {
            lua_yieldk(L, 0, 0, None);
        }
    }
}
