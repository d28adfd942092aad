//! The native modules, and the searcher that finds them and embedded ones.
//!
//! The searcher takes the place of Lua's first one (`package.preload`): it
//! looks there first, then in the table below, then among the embedded files,
//! unless a file on `package.path` comes first. So a VM pays for no native
//! module that it does not load.

use std::ffi::{CStr, c_int};

use crate::ffi::*;
use crate::vm::{Vm, vm_of};
use crate::{embed, lib_codecache, lib_core, lib_debugchannel, lib_memory, lib_profile, net};

/// Modules that stand or fall together: they know each other's insides.
const FAMILY: &[&[u8]] = &[
    b"skynet",
    b"skynet.require",
    b"skynet.debug",
    b"skynet.inject",
    b"skynet.injectcode",
    b"skynet.loadmodule",
    b"skynet.remotedebug",
    b"skynet.coroutine",
];

/// The native modules, but for `skynet` itself.
const NATIVE: &[(&CStr, lua_CFunction)] = &[
    (c"skynet.core", lib_core::luaopen_skynet_core),
    (c"skynet.profile", lib_profile::luaopen_skynet_profile),
    (c"skynet.memory", lib_memory::luaopen_skynet_memory),
    (
        c"skynet.debugchannel",
        lib_debugchannel::luaopen_skynet_debugchannel,
    ),
    (c"skynet.codecache", lib_codecache::luaopen_skynet_codecache),
    (c"skynet.socketdriver", net::luaopen_socketdriver),
    (c"skynet.netpack", net::luaopen_netpack),
    (c"skynet.embedded", embed::luaopen_embedded),
];

/// The native module of this name.
fn native(name: &[u8]) -> Option<lua_CFunction> {
    NATIVE
        .iter()
        .find(|(known, _)| known.to_bytes() == name)
        .map(|&(_, open)| open)
}

/// Opens every native module, so that their names can be learned. What one of
/// them raises is dropped.
///
/// # Safety
/// `L` is the main thread of a service's VM whose libraries are open, which is
/// closed afterwards.
pub(crate) unsafe fn open_all(L: *mut lua_State) {
    let skynet: (&CStr, lua_CFunction) = (c"skynet", crate::skynet::luaopen_skynet);
    for &(name, open) in NATIVE.iter().chain([&skynet]) {
        // SAFETY: the caller vouches for L; pushing a light C function and a
        // light userdata neither allocates nor raises.
        unsafe {
            lua_pushcfunction(L, open_one);
            lua_pushlightuserdata(L, name.as_ptr().cast_mut().cast());
            lua_pushcfunction(L, open);
            lua_pcall(L, 2, 0, 0);
            lua_settop(L, 0);
        }
    }
}

unsafe extern "C-unwind" fn open_one(L: *mut lua_State) -> c_int {
    // SAFETY: called by `open_all` with a C string and a C function.
    unsafe {
        if let Some(open) = lua_tocfunction(L, 2) {
            luaL_requiref(L, lua_touserdata(L, 1).cast(), open, 0);
        }
    }
    0
}

/// Puts the searcher in place. Slots: 3. May raise (memory).
///
/// # Safety
/// `L` is the main thread of a service's VM whose libraries are open.
pub(crate) unsafe fn install_searcher(L: *mut lua_State) {
    // SAFETY: the caller vouches for L; `package.searchers` was just made.
    unsafe {
        lua_getglobal(L, c"package".as_ptr());
        lua_getfield(L, -1, c"searchers".as_ptr());
        lua_pushcfunction(L, searcher);
        lua_rawseti(L, -2, 1);
        lua_settop(L, -3);
    }
}

/// Runs a module's opener and puts its table into `package.loaded`, without a
/// global. Slots: 4. May raise (memory).
///
/// # Safety
/// As [`install_searcher`].
pub(crate) unsafe fn preload(L: *mut lua_State, name: &CStr, open: lua_CFunction) {
    // SAFETY: the caller vouches for L.
    unsafe {
        luaL_requiref(L, name.as_ptr(), open, 0);
        lua_settop(L, -2);
    }
}

unsafe extern "C-unwind" fn searcher(L: *mut lua_State) -> c_int {
    // SAFETY: called by `require`; the name's bytes live in the string at index 1.
    unsafe {
        let mut len = 0;
        let pointer = luaL_checklstring(L, 1, &mut len);
        let name = std::slice::from_raw_parts(pointer.cast::<u8>(), len);
        lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
        lua_pushvalue(L, 1);
        if lua_istable(L, -2) != 0 && lua_rawget(L, -2) != LUA_TNIL {
            lua_pushstring(L, c":preload:".as_ptr());
            return 2;
        }
        lua_settop(L, 1);
        let vm = vm_of(L);
        let own_family = (*vm).host().own_family();
        let is_family = FAMILY.contains(&name);
        if name == b"skynet" {
            if own_family {
                return found(L, crate::skynet::luaopen_skynet);
            }
        } else if let Some(open) = native(name) {
            return found(L, open);
        }
        if own_family || !is_family {
            let status = load_embedded(L, vm, name, own_family && is_family);
            if status == LUA_OK {
                push_bytes(L, &(&(*vm).text)[1..(*vm).text.len() - 1]);
                return 2;
            }
            if status != NOT_EMBEDDED {
                lua_error(L);
            }
        }
        lua_pushfstring(
            L,
            c"no field package.preload['%s']".as_ptr(),
            lua_tolstring(L, 1, std::ptr::null_mut()),
        );
        1
    }
}

unsafe fn found(L: *mut lua_State, open: lua_CFunction) -> c_int {
    // SAFETY: two slots of the searcher's own.
    unsafe {
        lua_pushcfunction(L, open);
        lua_pushstring(L, c":native:".as_ptr());
        2
    }
}

/// No embedded file serves this name.
const NOT_EMBEDDED: c_int = -1;

/// Pushes the function of the embedded module `name`, or the message why it
/// cannot be compiled; returns the status. May raise.
unsafe fn load_embedded(L: *mut lua_State, vm: *mut Vm, name: &[u8], always: bool) -> c_int {
    // SAFETY: the searcher's frame: L is live and has free slots. What is
    // allocated here is dropped or given to the host before anything can raise.
    unsafe {
        if !embed::may_be_module(name, &mut (*vm).text) {
            return NOT_EMBEDDED;
        }
        if always {
            let Some((file, _)) = embed::own_module(name) else {
                return NOT_EMBEDDED;
            };
            embed::set_display(&mut (*vm).text, file.name.as_bytes());
            return embed::load(L, vm, file);
        }
        lua_getglobal(L, c"package".as_ptr());
        if lua_istable(L, -1) == 0 {
            return NOT_EMBEDDED;
        }
        lua_getfield(L, -1, c"path".as_ptr());
        let Some(path) = string_at(L, -1) else {
            return NOT_EMBEDDED;
        };
        // The strings stay on the stack while the answer is looked up.
        let host = std::sync::Arc::as_ptr((*vm).host());
        let answer = (*host).embedded_module(path, name, &mut (*vm).text);
        match answer {
            Some(file) => embed::load(L, vm, file),
            None => NOT_EMBEDDED,
        }
    }
}
