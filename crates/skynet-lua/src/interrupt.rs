//! Interrupting a VM that runs (spec/01-core.md §14.4).
//!
//! Nobody but the worker that runs a VM may touch its Lua threads: one seen
//! from outside may be freed under one's hands. So the interrupter notes what it
//! wants in the service's [`Shared`] part and sends the worker's thread a
//! signal; the handler, which runs on that thread and therefore while the VM
//! stands still, puts a count hook on the Lua thread that runs now. The hook
//! fires at the next instruction, puts back the hook that was there, and acts.
//!
//! An idle service has no worker and is not affected; a wish that comes too late
//! is dropped when the dispatch ends.

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::ptr::null_mut;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use skynet_core::{Context, Endless, Hooks, Node, SignalTarget};

use crate::ffi::*;
use crate::host::LuaHost;
use crate::vm::{Vm, vm_of};

/// Raise the error `signal 0`.
const RAISE: u8 = 1;
/// Report where the code is.
const TRACE: u8 = 2;

/// What other threads may touch of a Lua service.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Kernel id of the thread that runs the service now; 0: none.
    thread: AtomicI32,
    /// What is asked of it: RAISE, TRACE.
    wanted: AtomicU8,
    /// Bytes of the VM, about.
    pub(crate) bytes: AtomicUsize,
    /// The answer to TRACE.
    trace: Mutex<Option<Vec<u8>>>,
}

/// The debug hook of a thread before an interrupt replaced it.
#[derive(Clone, Copy, Default)]
pub(crate) struct SavedHook {
    /// The thread it belongs to, only to be compared.
    thread: usize,
    function: Option<lua_Hook>,
    mask: c_int,
    count: c_int,
}

thread_local! {
    /// The VM that this thread runs now.
    static RUNNING: Cell<*mut Vm> = const { Cell::new(null_mut()) };
    /// This thread's kernel id.
    static THREAD: Cell<i32> = const { Cell::new(0) };
}

fn thread_id() -> i32 {
    let known = THREAD.get();
    if known != 0 {
        return known;
    }
    // SAFETY: the call has no preconditions.
    let id = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
    THREAD.set(id);
    id
}

/// The VM runs on this thread as long as this lives.
pub(crate) struct Entered {
    vm: *mut Vm,
    outer: *mut Vm,
}

/// Notes that `vm` runs on this thread.
///
/// # Safety
/// `vm` lives as long as the result, which the caller drops on this thread,
/// in the order of nested calls, and across which no error is raised.
#[inline]
pub(crate) unsafe fn enter(vm: *mut Vm) -> Entered {
    let outer = RUNNING.replace(vm);
    // SAFETY: the caller vouches for `vm`.
    let shared = unsafe { &(*vm).shared };
    shared.thread.store(thread_id(), Ordering::Release);
    Entered { vm, outer }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        RUNNING.set(self.outer);
        // SAFETY: contract of `enter`.
        let (shared, bytes) = unsafe { (&(*self.vm).shared, (*self.vm).memory.bytes) };
        shared.thread.store(0, Ordering::Release);
        shared.bytes.store(bytes, Ordering::Relaxed);
        if shared.wanted.load(Ordering::Relaxed) != 0 {
            shared.wanted.store(0, Ordering::Relaxed);
        }
    }
}

/// The real-time signal that carries the news to the worker.
fn number() -> c_int {
    libc::SIGRTMIN() + 4
}

/// Installs the handler, once per process.
fn install_handler() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: sigaction reads the struct, which is initialised as its
        // manual wants it; the handler has the plain signature (no SA_SIGINFO).
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as extern "C" fn(c_int) as usize;
            action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(number(), &action, null_mut());
        }
    });
}

/// Runs on the interrupted worker. Only loads, stores and `lua_sethook`, which
/// is made to be called from signal handlers.
extern "C" fn handler(_: c_int) {
    let vm = RUNNING.get();
    if vm.is_null() {
        return;
    }
    // SAFETY: RUNNING is NULL or a live VM that this thread runs; `running` is
    // a thread of it that is alive, since it runs (or is about to, or just has).
    unsafe {
        let shared = &(*vm).shared;
        if shared.wanted.load(Ordering::Relaxed) == 0 {
            return;
        }
        let thread = (*vm).running.load(Ordering::Relaxed);
        if thread.is_null() {
            return;
        }
        let function = lua_gethook(thread);
        if !function.is_some_and(|f| std::ptr::fn_addr_eq(f, hook as lua_Hook)) {
            (*vm).saved_hook = SavedHook {
                thread: thread as usize,
                function,
                mask: lua_gethookmask(thread),
                count: lua_gethookcount(thread),
            };
        }
        lua_sethook(thread, Some(hook), LUA_MASKCOUNT, 1);
    }
}

/// Runs in the VM, at the next instruction of the thread that the handler saw.
unsafe extern "C-unwind" fn hook(L: *mut lua_State, _: *mut lua_Debug) {
    // SAFETY: called by Lua on a thread of a service's VM. All owned values
    // are gone before the error is raised.
    unsafe {
        let vm = vm_of(L);
        // A hook that fires late, after another thread was interrupted, finds
        // that one's; then there is nothing to put back.
        let mut saved = SavedHook::default();
        if (*vm).saved_hook.thread == L as usize {
            saved = std::mem::take(&mut (*vm).saved_hook);
        }
        lua_sethook(L, saved.function, saved.mask, saved.count);
        let shared = &(*vm).shared;
        let wanted = shared.wanted.swap(0, Ordering::Relaxed);
        if wanted & TRACE != 0 {
            let text = traceback(L);
            *shared.trace.lock() = Some(text);
        }
        if wanted & RAISE != 0 {
            luaL_error(L, c"signal 0".as_ptr());
        }
    }
}

/// The call stack of a thread as text, without allocating in the VM.
///
/// # Safety
/// The caller owns the VM of `L` now.
pub(crate) unsafe fn traceback(L: *mut lua_State) -> Vec<u8> {
    const SHOWN: c_int = 40;
    let mut text = b"stack traceback:".to_vec();
    for level in 0..SHOWN {
        // SAFETY: the struct is plain data that lua_getstack and lua_getinfo
        // fill in; the fields read are those that were asked for.
        unsafe {
            let mut ar: lua_Debug = std::mem::zeroed();
            if lua_getstack(L, level, &mut ar) == 0 {
                return text;
            }
            lua_getinfo(L, c"Slnt".as_ptr(), &mut ar);
            text.extend_from_slice(b"\n\t");
            text.extend_from_slice(CStr::from_ptr(ar.short_src.as_ptr()).to_bytes());
            text.push(b':');
            if ar.currentline > 0 {
                text.extend_from_slice(format!("{}:", ar.currentline).as_bytes());
            }
            text.extend_from_slice(b" in ");
            if !ar.name.is_null() {
                text.extend_from_slice(CStr::from_ptr(ar.namewhat).to_bytes());
                text.extend_from_slice(b" '");
                text.extend_from_slice(CStr::from_ptr(ar.name).to_bytes());
                text.push(b'\'');
            } else if *ar.what == b'm' as std::ffi::c_char {
                text.extend_from_slice(b"main chunk");
            } else if *ar.what == b'C' as std::ffi::c_char {
                text.extend_from_slice(b"a C function");
            } else {
                text.extend_from_slice(format!("function <line {}>", ar.linedefined).as_bytes());
            }
            if ar.istailcall != 0 {
                text.extend_from_slice(b"\n\t(...tail calls...)");
            }
        }
    }
    text.extend_from_slice(b"\n\t...");
    text
}

impl Shared {
    /// Tells the thread that runs the service, if one does.
    fn interrupt(&self, what: u8) -> bool {
        let thread = self.thread.load(Ordering::Acquire);
        if thread == 0 {
            return false;
        }
        install_handler();
        self.wanted.fetch_or(what, Ordering::Relaxed);
        // By the kernel's id, not as pthread_t: a thread that has ended
        // meanwhile is an error here and not a wild pointer.
        // SAFETY: plain system calls.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, number()) == 0 }
    }
}

impl SignalTarget for Shared {
    fn signal(&self, context: &Context, signal: i32) {
        context.log(format!("recv a signal {signal}"));
        match signal {
            0 => {
                self.interrupt(RAISE);
            }
            1 => {
                let bytes = self.bytes.load(Ordering::Relaxed);
                context.log(format!("Current Memory {:.3}K", bytes as f64 / 1024.0));
            }
            _ => {}
        }
    }
}

/// Reports endless loops with the place where the code is.
#[derive(Debug)]
pub(crate) struct LoopReporter;

/// How long the reporter waits for a VM to reach its next instruction.
const PATIENCE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(5);

impl Hooks for LoopReporter {
    fn endless(&self, node: &Node, report: &Endless) {
        let Some(shared) = node
            .extension::<LuaHost>()
            .and_then(|host| host.service(report.handle))
        else {
            return;
        };
        let mut text = format!(
            "error: endless loop in :{:08x}, message type {} session {} from :{:08x}\n",
            report.handle, report.kind, report.session, report.source
        )
        .into_bytes();
        *shared.trace.lock() = None;
        if !shared.interrupt(TRACE) {
            return;
        }
        let mut waited = Duration::ZERO;
        let trace = loop {
            if let Some(trace) = shared.trace.lock().take() {
                break Some(trace);
            }
            if waited >= PATIENCE || shared.thread.load(Ordering::Acquire) == 0 {
                break None;
            }
            // The monitor's own thread; there is nothing to be woken by, since
            // the other side may be stuck.
            std::thread::sleep(LOOK);
            waited += LOOK;
        };
        match trace {
            Some(trace) => text.extend_from_slice(&trace),
            None if shared.thread.load(Ordering::Acquire) == 0 => {
                text.extend_from_slice(b"it has finished meanwhile");
            }
            None => text.extend_from_slice(b"it is inside a C function"),
        }
        node.log(report.handle, &text);
    }
}

#[cfg(test)]
mod tests;
