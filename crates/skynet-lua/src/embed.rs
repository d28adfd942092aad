//! The Lua files inside the executable (`lualib/`, `service/`), and when they
//! are used: files on the configured paths win. A configured path whose file is
//! missing but whose tail names an embedded file uses that one.

use std::ffi::c_int;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::ffi::*;
use crate::vm::{Vm, try_vm_of, vm_of};

/// An embedded file.
#[derive(Debug)]
pub(crate) struct File {
    /// Its name in the tree, such as `lualib/skynet/queue.lua`.
    pub(crate) name: &'static str,
    pub(crate) text: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The file called `name`.
pub(crate) fn find(name: &[u8]) -> Option<&'static File> {
    FILES
        .binary_search_by(|file| file.name.as_bytes().cmp(name))
        .ok()
        .map(|at| &FILES[at])
}

/// The file that the tail of `path` names: the path is its name, or ends in `/` and its name.
pub(crate) fn find_tail(path: &[u8]) -> Option<&'static File> {
    if let Some(file) = find(path) {
        return Some(file);
    }
    path.iter()
        .enumerate()
        .filter(|&(_, &b)| b == b'/')
        .find_map(|(at, _)| find(&path[at + 1..]))
}

/// Whether a file is there.
pub(crate) fn exists(path: &[u8]) -> bool {
    Path::new(std::ffi::OsStr::from_bytes(path)).exists()
}

/// Whether some embedded file could be Lua module `name`, wherever it is looked for.
pub(crate) fn may_be_module(name: &[u8], buffer: &mut Vec<u8>) -> bool {
    [
        b"lualib/?.lua" as &[u8],
        b"lualib/?/init.lua",
        b"lualib/compat10/?.lua",
    ]
    .iter()
    .any(|pattern| {
        buffer.clear();
        substitute(pattern, name, buffer);
        find(buffer).is_some()
    })
}

/// Appends `pattern` with each `?` replaced by the path of module `name` (dots become slashes).
fn substitute(pattern: &[u8], name: &[u8], out: &mut Vec<u8>) {
    for &byte in pattern {
        if byte == b'?' {
            out.extend(name.iter().map(|&b| if b == b'.' { b'/' } else { b }));
        } else {
            out.push(byte);
        }
    }
}

/// The embedded file that is module `name` under the search path `path`, with the name it
/// goes by; `None` if a file on the path comes first or there is none.
pub(crate) fn module(path: &[u8], name: &[u8]) -> Option<(&'static File, Vec<u8>)> {
    for pattern in path.split(|&b| b == b';').filter(|p| !p.is_empty()) {
        let mut candidate = Vec::new();
        substitute(pattern, name, &mut candidate);
        if exists(&candidate) {
            return None;
        }
        if let Some(file) = find_tail(&candidate) {
            return Some((file, candidate));
        }
    }
    own_module(name)
}

/// The embedded file of module `name`, whatever is on the paths.
pub(crate) fn own_module(name: &[u8]) -> Option<(&'static File, Vec<u8>)> {
    [b"lualib/?.lua" as &[u8], b"lualib/?/init.lua"]
        .iter()
        .find_map(|pattern| {
            let mut candidate = Vec::new();
            substitute(pattern, name, &mut candidate);
            find(&candidate).map(|file| (file, candidate))
        })
}

/// Writes the path that appears in messages into `out`, as [`load`] wants it.
pub(crate) fn set_display(out: &mut Vec<u8>, path: &[u8]) {
    out.clear();
    out.push(b'@');
    out.extend_from_slice(path);
    out.push(0);
}

/// Pushes the function of an embedded file or a message, and returns the status. The path
/// shown in messages is in the Vm's `text` ([`set_display`]). Slots: 1, 3 in between. May raise (memory).
///
/// # Safety
/// `L` is a live Lua thread in a call that may raise, `vm` its VM.
pub(crate) unsafe fn load(L: *mut lua_State, vm: *mut Vm, file: &'static File) -> c_int {
    // SAFETY: `text` belongs to the Vm, so an error leaves it in place; loading
    // compiles and runs no Lua code, so nothing else uses it meanwhile. It is
    // NUL-terminated and at least two bytes long.
    unsafe {
        let name: *const std::ffi::c_char = (&(*vm).text).as_ptr().cast();
        skl_loadembedded(
            L,
            name.add(1),
            file.text.as_ptr().cast(),
            file.text.len(),
            name,
        )
    }
}

/// `require "skynet.embedded"`: a function for the loader. Given a path whose
/// file is missing it returns the function of the embedded file that the tail
/// of the path names, else nothing.
pub(crate) unsafe extern "C-unwind" fn luaopen_embedded(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        lua_pushcfunction(L, load_tail);
        1
    }
}

unsafe extern "C-unwind" fn load_tail(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. The path lives in a string at index 1.
    unsafe {
        let mut len = 0;
        let path = luaL_checklstring(L, 1, &mut len);
        if try_vm_of(L).is_null() {
            return 0;
        }
        let vm = vm_of(L);
        let path = std::slice::from_raw_parts(path.cast::<u8>(), len);
        let Some(file) = find_tail(path).filter(|_| !exists(path)) else {
            return 0;
        };
        if file.name == "service/launcher.lua" {
            (*vm).host().note_own_launcher();
        }
        set_display(&mut (*vm).text, path);
        if load(L, vm, file) != LUA_OK {
            lua_error(L);
        }
        1
    }
}
