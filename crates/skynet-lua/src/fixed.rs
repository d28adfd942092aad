//! Services of a node under the deterministic driver: their VMs have seeds, the
//! calendar and the clock from the node, and a running Lua loop uses up virtual
//! time.

use std::ffi::{c_int, c_ulonglong};

use skynet_core::Context;

use crate::ffi::*;
use crate::vm::node_of;

/// Instructions between two steps of the virtual clock.
const STEP: c_int = 1_000;
/// Nanoseconds of virtual time that they take: about what they would take on a
/// machine.
const STEP_NS: u64 = 10_000;

/// Makes a service's VM, of which `L` is the main thread, run the same each
/// time, if the node is under the deterministic driver. Does not raise.
///
/// # Safety
/// `L` belongs to a VM made by this crate for the service of `context`, and no
/// other thread of it has been made.
pub(crate) unsafe fn fix(L: *mut lua_State, context: &Context) {
    let node = context.node();
    if node.sim().is_none() {
        return;
    }
    // SAFETY: the caller vouches for L; `time` and `pass_time` only find the
    // node by way of the VM.
    unsafe {
        skl_setseed(L, node.random());
        skl_settime(L, Some(time));
        skl_setbasehook(L, Some(pass_time), LUA_MASKCOUNT, STEP);
    }
}

/// The node's calendar and clock, for `os.time`, `os.date` and `os.clock`.
unsafe extern "C-unwind" fn time(L: *mut lua_State, which: c_int) -> c_ulonglong {
    // SAFETY: a thread of a service's VM.
    let node = unsafe { node_of(L) };
    if which == SKL_TIME_DATE {
        // Centiseconds are what the node itself tells of the time.
        u64::from(node.start_seconds()) * 1_000_000_000 + node.now() * 10_000_000
    } else {
        node.monotonic_ns()
    }
}

/// The hook of every Lua thread whose program has not set another.
unsafe extern "C-unwind" fn pass_time(L: *mut lua_State, _: *mut lua_Debug) {
    // SAFETY: a thread of a service's VM.
    unsafe { node_of(L) }.pass_virtual_time(STEP_NS);
}
