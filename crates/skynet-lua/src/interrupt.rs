//! Interrupting a running VM.

use std::sync::atomic::{AtomicI32, AtomicU8};

use crate::ffi::*;

/// What other threads may touch of a Lua service.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Kernel id of the thread that runs the service now; 0: none.
    pub(crate) thread: AtomicI32,
    /// What is asked of it.
    pub(crate) wanted: AtomicU8,
}

/// The debug hook of a thread before an interrupt replaced it.
#[derive(Clone, Copy, Default)]
pub(crate) struct SavedHook {
    pub(crate) function: Option<lua_Hook>,
    pub(crate) mask: i32,
    pub(crate) count: i32,
}
