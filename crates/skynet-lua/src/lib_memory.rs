//! Module `skynet.memory` (spec/01-core.md §18.2): what the process's
//! allocator can tell. Blocks are not charged to handles here, so the functions
//! per handle report the VMs of Lua services.

use std::ffi::c_int;

use crate::ffi::*;
use crate::lib_core::caught;
use crate::vm::{context_of, vm_of};

/// Opens the module.
pub(crate) unsafe extern "C-unwind" fn luaopen_skynet_memory(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with LUA_MINSTACK slots.
    unsafe {
        new_library(
            L,
            &[
                (c"total", total),
                (c"block", block),
                (c"current", current),
                (c"info", info),
                (c"dump", dump),
                (c"jestat", jestat),
                (c"mallctl", mallctl),
                (c"dumpinfo", dumpinfo),
                (c"dumpheap", dumpheap),
                (c"profactive", profactive),
            ],
            0,
        );
    }
    1
}

/// What is known of the process's memory.
#[derive(Clone, Copy)]
struct Process {
    /// Bytes in live blocks.
    allocated: usize,
    /// Bytes held from the system.
    mapped: usize,
    /// Bytes held but free.
    retained: usize,
    /// Resident bytes.
    resident: usize,
}

/// `vms`: bytes in live blocks of the VMs. If malloc knows of less, the process
/// has another allocator, which is not asked: then the VMs are what is allocated.
fn process(vms: usize) -> Process {
    // SAFETY: no preconditions.
    let info = unsafe { libc::mallinfo2() };
    let [resident, data] = process_pages();
    let allocated = info.uordblks + info.hblkhd;
    if allocated < vms {
        return Process {
            allocated: vms,
            mapped: data,
            retained: resident.saturating_sub(vms),
            resident,
        };
    }
    Process {
        allocated,
        mapped: info.arena + info.hblkhd,
        retained: info.fordblks,
        resident,
    }
}

/// Resident bytes and bytes of data of the process, 0 if the system does not say.
fn process_pages() -> [usize; 2] {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let bytes = |field: usize| {
        let pages = text.split_ascii_whitespace().nth(field);
        pages
            .and_then(|pages| pages.parse::<usize>().ok())
            .map_or(0, |pages| pages * 4096)
    };
    [bytes(1), bytes(5)]
}

/// Bytes of all VMs.
unsafe fn vm_bytes(L: *mut lua_State) -> usize {
    // SAFETY: called by Lua.
    let vm = unsafe { vm_of(L) };
    // SAFETY: the Vm lives while its Lua code runs.
    let sizes = unsafe { (*vm).host().sizes() };
    sizes.into_iter().map(|(_, bytes)| bytes).sum()
}

unsafe extern "C-unwind" fn total(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let bytes = caught(L, || vm_bytes(L));
        lua_pushinteger(L, bytes as lua_Integer);
    }
    1
}

/// Live blocks are not counted; what is known is how many VMs are alive.
unsafe extern "C-unwind" fn block(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let vm = vm_of(L);
        let vms = (*vm)
            .host()
            .existing_space()
            .map_or(0, |space| space.stats().vms);
        lua_pushinteger(L, vms as lua_Integer);
    }
    1
}

unsafe extern "C-unwind" fn current(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let bytes = (*vm_of(L)).memory.bytes;
        lua_pushinteger(L, bytes as lua_Integer);
    }
    1
}

unsafe extern "C-unwind" fn info(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. The list is in the Vm's scratch text as pairs of
    // 8 bytes, so that an error on the way leaves nothing behind.
    unsafe {
        let vm = vm_of(L);
        caught(L, || {
            let text = &mut (*vm).text;
            text.clear();
            for (handle, bytes) in (*vm).host().sizes() {
                text.extend_from_slice(&u64::from(handle).to_ne_bytes());
                text.extend_from_slice(&(bytes as u64).to_ne_bytes());
            }
        });
        lua_createtable(L, 0, 0);
        let count = (*vm).text.len() / 16;
        for i in 0..count {
            let text = &(&(*vm).text)[i * 16..];
            let word = |at: usize| {
                text.get(at..at + 8)
                    .and_then(|b| b.try_into().ok())
                    .map_or(0, u64::from_ne_bytes)
            };
            let (handle, bytes) = (word(0), word(8));
            lua_pushinteger(L, bytes as lua_Integer);
            lua_rawseti(L, -2, handle as lua_Integer);
        }
    }
    1
}

unsafe extern "C-unwind" fn dump(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let vm = vm_of(L);
        let node = context_of(L).node();
        caught(L, || {
            node.log(0, b"dump all service mem:");
            let mut sum = 0;
            for (handle, bytes) in (*vm).host().sizes() {
                sum += bytes;
                node.log(
                    0,
                    format!(":{handle:08x} -> {}kb {bytes}b", bytes >> 10).as_bytes(),
                );
            }
            node.log(0, format!("+total: {}kb", sum >> 10).as_bytes());
        });
    }
    0
}

unsafe extern "C-unwind" fn jestat(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let process = caught(L, || process(vm_bytes(L)));
        lua_createtable(L, 0, 5);
        for (name, value) in [
            (c"stats.allocated", process.allocated),
            (c"stats.resident", process.resident),
            (c"stats.retained", process.retained),
            (c"stats.mapped", process.mapped),
            (c"stats.active", process.allocated),
        ] {
            lua_pushinteger(L, value as lua_Integer);
            lua_setfield(L, -2, name.as_ptr());
        }
    }
    1
}

/// The allocator has no controls of jemalloc's kind.
unsafe extern "C-unwind" fn mallctl(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the name stays on the stack.
    unsafe {
        let mut len = 0;
        let name = luaL_checklstring(L, 1, &mut len);
        let name = std::slice::from_raw_parts(name.cast::<u8>(), len);
        let node = context_of(L).node();
        caught(L, || {
            let name = String::from_utf8_lossy(name);
            node.log(0, format!("No jemalloc : mallctl_int64 {name}.").as_bytes());
        });
        lua_pushinteger(L, 0);
    }
    1
}

unsafe extern "C-unwind" fn dumpinfo(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    let process = unsafe { caught(L, || process(vm_bytes(L))) };
    eprintln!(
        "Allocated: {}, resident: {}, mapped: {}, retained: {}",
        process.allocated, process.resident, process.mapped, process.retained
    );
    0
}

unsafe extern "C-unwind" fn dumpheap(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let node = context_of(L).node();
        caught(L, || node.log(0, b"No jemalloc : mallctl_cmd prof.dump."));
    }
    0
}

unsafe extern "C-unwind" fn profactive(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let node = context_of(L).node();
        caught(L, || {
            node.log(0, b"No jemalloc : mallctl_bool prof.active.")
        });
        lua_pushboolean(L, 0);
    }
    1
}
