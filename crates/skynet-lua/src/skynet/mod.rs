//! The native coroutine scheduler and the functions of module `skynet`.
//!
//! A message comes to [`dispatch`]: an answer wakes the coroutine that waits
//! for its session, everything else starts the dispatch function of its
//! protocol in a coroutine of its own. Coroutines are bare Lua threads that the
//! scheduler resumes; a function that waits (`skynet.call`, `sleep` ...) yields
//! with a continuation, which reads why it goes on and unpacks the answer
//! straight onto its own stack. No Lua code of a library runs in between.
//!
//! | file | what |
//! |---|---|
//! | `state` | what the scheduler knows of one VM |
//! | `sessions` | who waits for which session |
//! | `coro` | coroutines: pool, running, ending, wakeups, forks |
//! | `route` | what becomes of a message |
//! | `send`, `call`, `answer` | messages out |
//! | `time` | sleeping, forks, timers |
//! | `start`, `death` | begin and end of a service |
//! | `proto`, `handlers`, `info`, `trace` | the rest of the module |
//! | `serial`, `noyield` | additions of ours against changed state |
//! | `select`, `lazy`, `native` | parts in Lua, loaded when used |
//! | `park` | coroutines stopped by the debugger |
//!
//! Additions to upstream's module: `call_timeout`, `timer`, `serial`,
//! `noyield`, and a cause (a text) as second argument of a response closure
//! that is given `false`.

mod answer;
mod call;
mod coro;
mod death;
mod ending;
mod handlers;
mod info;
mod lazy;
mod lib;
mod native;
mod noyield;
mod park;
mod proto;
mod route;
mod select;
mod send;
pub(crate) mod serial;
mod sessions;
mod start;
mod state;
#[cfg(test)]
mod sweep;
mod time;
mod tools;
mod trace;

use std::ffi::c_int;

use skynet_core::Context;

pub(crate) use coro::limited;
pub use route::dispatch;
pub use state::Scheduler;

use crate::ffi::lua_State;
use crate::vm::{NOTICE_IDLE, Vm};

/// Opens module `skynet`.
///
/// # Safety
/// Called by Lua in the VM of a service.
pub unsafe extern "C-unwind" fn luaopen_skynet(L: *mut lua_State) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { lib::open(L) }
}

/// Pushes two new tables, of the protocols and of the module, that hold what
/// they do when module `skynet` has just been opened.
///
/// # Safety
/// Called by Lua in the VM of a service whose libraries are open.
pub(crate) unsafe extern "C-unwind" fn push_patterns(L: *mut lua_State) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { lib::push_patterns(L) }
}

/// Wake-ups that are not messages. [`NOTICE_IDLE`]: the VM is quiet and about
/// to be collected, so what is kept for speed is let go.
///
/// # Safety
/// As [`dispatch`].
pub unsafe fn notified(vm: *mut Vm, context: &Context, bits: u8) {
    let _ = context;
    if bits & NOTICE_IDLE != 0 {
        // SAFETY: the caller vouches for vm.
        unsafe { coro::trim(vm) };
    }
}
