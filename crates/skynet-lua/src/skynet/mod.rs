//! The native coroutine scheduler of module `skynet`.

use skynet_core::{Context, Message};

use crate::vm::Vm;

/// State of the scheduler of one VM.
#[derive(Debug, Default)]
pub struct Scheduler {}

/// One message for a service whose callback is native.
///
/// # Safety
/// `vm` is the service's VM and nothing else uses it now.
pub unsafe fn dispatch(vm: *mut Vm, context: &Context, message: Message) {
    let _ = (vm, context, message);
}

/// Wake-ups that are not messages.
///
/// # Safety
/// As [`dispatch`].
pub unsafe fn notified(vm: *mut Vm, context: &Context, bits: u8) {
    let _ = (vm, context, bits);
}

/// Opens module `skynet`.
pub(crate) unsafe extern "C-unwind" fn luaopen_skynet(L: *mut crate::ffi::lua_State) -> i32 {
    // SAFETY: called by Lua.
    unsafe { crate::ffi::raise(L, b"module skynet is not part of this build") }
}
