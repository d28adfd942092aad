//! `skynet.core.trace` (spec/01-core.md §15.10).

use std::ffi::{CStr, c_int};
use std::io::Write as _;

use crate::ffi::*;
use crate::lib_core::caught;
use crate::vm::{context_of, node_of};

/// At most this many Lua frames are shown.
const FRAMES: usize = 3;

/// Where a frame is; `source` is a C string that the function keeps alive.
#[derive(Clone, Copy)]
struct Frame<'a> {
    source: &'a CStr,
    line: c_int,
}

pub(crate) unsafe extern "C-unwind" fn trace(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the strings stay on the stack, the frames' sources
    // belong to functions that are being called.
    unsafe {
        let tag = CStr::from_ptr(luaL_checkstring(L, 1));
        let user = CStr::from_ptr(luaL_checkstring(L, 2));
        let mut frames: [Option<Frame<'_>>; FRAMES] = [None; FRAMES];
        if lua_type(L, 3) > LUA_TNIL {
            let (thread, level) = if lua_isthread(L, 3) != 0 {
                (lua_tothread(L, 3), luaL_optinteger(L, 4, 1))
            } else {
                (L, luaL_optinteger(L, 3, 1))
            };
            collect(thread, level as c_int, &mut frames);
        }
        let context = context_of(L);
        let now = node_of(L).monotonic_ns();
        caught(L, || {
            let mut line = Vec::new();
            line.extend_from_slice(b"<TRACE ");
            line.extend_from_slice(tag.to_bytes());
            // Writing to a Vec does not fail.
            let _ = write!(line, "> {now} ");
            line.extend_from_slice(user.to_bytes());
            if frames[0].is_some() {
                line.extend_from_slice(b" :");
            }
            for frame in frames.into_iter().flatten() {
                line.push(b' ');
                line.extend_from_slice(frame.source.to_bytes());
                let _ = write!(line, ":{}", frame.line);
            }
            context.log(line);
        });
    }
    0
}

/// The first Lua frames from `level` on.
unsafe fn collect<'a>(L: *mut lua_State, level: c_int, frames: &mut [Option<Frame<'a>>; FRAMES]) {
    let mut level = level;
    let mut count = 0;
    // SAFETY: `L` is a live thread of the VM that runs; the struct is plain
    // data that Lua fills in.
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        while count < FRAMES && lua_getstack(L, level, &mut ar) != 0 {
            level += 1;
            lua_getinfo(L, c"Sl".as_ptr(), &mut ar);
            if ar.currentline > 0 {
                frames[count] = Some(Frame {
                    source: CStr::from_ptr(ar.source),
                    line: ar.currentline,
                });
                count += 1;
            }
        }
    }
}
