//! One service's Lua VM and what the host keeps beside it.
//!
//! A [`Vm`] lives in a box at a fixed address, which is the user data of the
//! VM's allocator, so that every native function finds it ([`vm_of`]). It is
//! used through a raw pointer: Lua code that a native function calls may come
//! back into another native function, so **no reference to a whole `Vm` or to
//! one of its fields is held across a call into Lua**. A field is borrowed for
//! one statement: `unsafe { (*vm).scratch.clear() }`.

use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use skynet_core::{Context, Node, Payload};

use crate::alloc::{self, Memory};
use crate::ffi::*;
use crate::host::LuaHost;
use crate::interrupt::Shared;
use crate::skynet::Scheduler;

/// Bits of [`Context::notify`] that belong to the host: a VM was quiet for a
/// while. The scheduler may use the others.
pub const NOTICE_IDLE: u8 = 0x80;

/// Who gets a service's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callback {
    /// Nobody: messages are discarded.
    None,
    /// The native scheduler of module `skynet`.
    Native,
    /// A Lua function given to `skynet.core.callback`.
    Lua,
}

/// A Lua function that gets messages: its thread has a traceback handler at
/// index 1 and the function at index 2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LuaCallback {
    pub(crate) thread: *mut lua_State,
    /// Keeps the thread alive: a reference in the registry.
    pub(crate) anchor: i32,
    /// The function owns the message block.
    pub(crate) forward: bool,
}

/// A VM and what belongs to it. See the module's rule about references.
pub struct Vm {
    /// Allocator accounts.
    pub memory: Memory,
    /// The main Lua thread.
    pub main: *mut lua_State,
    /// The service, for its whole life.
    pub context: *const Context,
    /// The Lua thread that runs now (or ran last). Whoever resumes a thread
    /// sets it before and puts the old value back after; see [`Running`].
    pub running: AtomicPtr<lua_State>,
    /// Who gets messages.
    pub callback: Callback,
    /// Packed values on their way out; see [`crate::seri`]. Cleared before each dispatch.
    pub scratch: Vec<u8>,
    /// Text that a native function computes before it raises or pushes.
    pub text: Vec<u8>,
    /// The native scheduler's own state.
    pub sched: Scheduler,
    pub(crate) lua_callback: Option<LuaCallback>,
    /// The callback before the present one, kept until the next message.
    pub(crate) old_callback: Option<LuaCallback>,
    /// What other threads may touch.
    pub(crate) shared: Arc<Shared>,
    /// The payload of the message that the native scheduler dispatches now, if
    /// its bytes may become a Lua string's.
    pub(crate) current: *mut Payload,
    /// The hook that an interrupt replaced.
    pub(crate) saved_hook: crate::interrupt::SavedHook,
    /// `skynet.profile.start` was called in this VM.
    pub(crate) profiling: bool,
    /// A timer for the idle collection is running.
    pub(crate) idle_timer: bool,
    /// Messages dispatched since that timer was started or last looked.
    pub(crate) busy: bool,
    /// Bytes ever allocated when the host last collected.
    pub(crate) allocated_at_collection: u64,
    /// Keeps the space of the VM alive.
    host: Arc<LuaHost>,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm")
            .field("memory", &self.memory)
            .field("callback", &self.callback)
            .finish_non_exhaustive()
    }
}

/// Owns a [`Vm`]; closes it when dropped.
#[derive(Debug)]
pub(crate) struct VmBox(NonNull<Vm>);

// SAFETY: a VM may be used by one thread at a time, on whichever thread its
// service runs; nothing in it or in Lua belongs to a thread.
unsafe impl Send for VmBox {}

impl VmBox {
    /// A VM without libraries. `None`: out of memory.
    pub(crate) fn new(host: &Arc<LuaHost>, context: &Context, shared: Arc<Shared>) -> Option<Self> {
        let vm = Box::into_raw(Box::new(Vm {
            memory: Memory::new(),
            main: null_mut(),
            context,
            running: AtomicPtr::new(null_mut()),
            callback: Callback::None,
            scratch: Vec::new(),
            text: Vec::new(),
            sched: Scheduler::default(),
            lua_callback: None,
            old_callback: None,
            shared,
            current: null_mut(),
            saved_hook: crate::interrupt::SavedHook::default(),
            profiling: false,
            idle_timer: false,
            busy: false,
            allocated_at_collection: 0,
            host: host.clone(),
        }));
        let space = host.space(context.node()).as_ptr();
        // SAFETY: the space lives as long as `host`, which the Vm holds, and the
        // template as long as the space; `vm` is a fresh box; `allocate` takes it as its user data.
        unsafe {
            let template = host.templates().map_or(std::ptr::null(), |t| t.vm);
            let main = skl_newvmfrom(space, template, alloc::allocate, vm.cast());
            if main.is_null() {
                drop(Box::from_raw(vm));
                return None;
            }
            (*vm).main = main;
            (*vm).running.store(main, Ordering::Relaxed);
            Some(Self(NonNull::new_unchecked(vm)))
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut Vm {
        self.0.as_ptr()
    }
}

impl Drop for VmBox {
    fn drop(&mut self) {
        let vm = self.0.as_ptr();
        // SAFETY: we own the box and the state; finalizers that run in
        // lua_close may still use the Vm, which is freed after it.
        unsafe {
            let main = (*vm).main;
            (*vm).running.store(main, Ordering::Relaxed);
            skl_close(main);
            drop(Box::from_raw(vm));
        }
    }
}

/// The [`Vm`] of a Lua thread of a service.
///
/// # Safety
/// `L` belongs to a VM made by this crate for a service (all threads of module
/// `skynet` and `skynet.core` do: these modules open in no other VM).
#[inline]
pub unsafe fn vm_of(L: *mut lua_State) -> *mut Vm {
    let mut ud: *mut c_void = null_mut();
    // SAFETY: the caller vouches for L.
    unsafe { lua_getallocf(L, &mut ud) };
    ud.cast()
}

/// The [`Vm`] of a Lua thread, or NULL if its VM is not a service's.
///
/// # Safety
/// `L` is a live Lua thread.
pub unsafe fn try_vm_of(L: *mut lua_State) -> *mut Vm {
    let mut ud: *mut c_void = null_mut();
    // SAFETY: the caller vouches for L.
    let allocator = unsafe { lua_getallocf(L, &mut ud) };
    if std::ptr::fn_addr_eq(allocator, alloc::allocate as lua_Alloc) {
        ud.cast()
    } else {
        null_mut()
    }
}

/// The service of a Lua thread.
///
/// # Safety
/// As [`vm_of`].
#[inline]
pub unsafe fn context_of<'a>(L: *mut lua_State) -> &'a Context {
    // SAFETY: the Vm is live and its context outlives it.
    unsafe { &*(*vm_of(L)).context }
}

/// The node of a Lua thread.
///
/// # Safety
/// As [`vm_of`].
#[inline]
pub unsafe fn node_of<'a>(L: *mut lua_State) -> &'a Node {
    // SAFETY: as `context_of`.
    unsafe { context_of(L).node() }
}

/// Resumes `co` as `lua_resume`, noting it as the running thread meanwhile, so
/// that an interrupt reaches it. Does not raise.
///
/// # Safety
/// As [`vm_of`] and `lua_resume`; `from` is the thread that runs now, or NULL.
#[inline]
pub unsafe fn resume(
    vm: *mut Vm,
    co: *mut lua_State,
    from: *mut lua_State,
    nargs: i32,
    nresults: &mut i32,
) -> i32 {
    // SAFETY: the caller vouches for the pointers; `running` is an atomic that
    // only this thread and its signal handler touch.
    unsafe {
        let before = (*vm).running.load(Ordering::Relaxed);
        (*vm).running.store(co, Ordering::Relaxed);
        let status = lua_resume(co, from, nargs, nresults);
        (*vm).running.store(before, Ordering::Relaxed);
        status
    }
}

impl Vm {
    /// The host as a pointer, so that nothing of the Vm is borrowed; it lives as long as the VM.
    pub(crate) fn host_ptr(&self) -> *const LuaHost {
        Arc::as_ptr(&self.host)
    }

    /// The host this VM belongs to.
    pub(crate) fn host(&self) -> &Arc<LuaHost> {
        &self.host
    }
}
