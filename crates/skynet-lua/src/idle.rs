//! Collecting the garbage of services that have gone quiet.
//!
//! Lua collects while it allocates, so a service that stops working keeps its
//! last garbage for ever. Here a VM that has allocated is looked at after a
//! while; if no message came meanwhile it is collected, once, so that an idle
//! node stays idle.

use skynet_core::Context;

use crate::ffi::*;
use crate::vm::{NOTICE_IDLE, Vm};

/// Centiseconds without a message after which a service is quiet.
const QUIET: u32 = 300;

/// Scratch buffers larger than this are given back by a quiet service.
const KEEP: usize = 4096;

/// Scratch buffers larger than this are given back after each message.
const LARGE: usize = 1 << 20;

/// Notes that the service was active; sees to it that somebody looks later.
///
/// # Safety
/// This thread runs the service of `vm`.
#[inline]
pub(crate) unsafe fn after_dispatch(vm: *mut Vm, context: &Context) {
    // SAFETY: the fields are the VM's own, which this thread runs.
    unsafe {
        (*vm).busy = true;
        if (*vm).scratch.capacity() > LARGE {
            (*vm).scratch = Vec::new();
        }
        if !(*vm).idle_timer && (*vm).memory.allocated > (*vm).allocated_at_collection {
            (*vm).idle_timer = true;
            context.notify_after(QUIET, NOTICE_IDLE);
        }
    }
}

/// The time has passed: collects, or waits again.
///
/// # Safety
/// As [`after_dispatch`].
pub(crate) unsafe fn look(vm: *mut Vm, context: &Context) {
    // SAFETY: as above. A collection does not raise: errors of finalizers are
    // warnings. The stack of the main thread is free.
    unsafe {
        if (*vm).busy {
            (*vm).busy = false;
            context.notify_after(QUIET, NOTICE_IDLE);
            return;
        }
        (*vm).idle_timer = false;
        crate::skynet::notified(vm, context, NOTICE_IDLE);
        if lua_gc((*vm).main, LUA_GCISRUNNING) != 0 {
            lua_gc((*vm).main, LUA_GCCOLLECT);
        }
        (*vm).allocated_at_collection = (*vm).memory.allocated;
        for buffer in [&raw mut (*vm).scratch, &raw mut (*vm).text] {
            (*buffer).clear();
            if (*buffer).capacity() > KEEP {
                (*buffer).shrink_to(0);
            }
        }
    }
    context.shrink_mailbox();
}
