//! Who runs a scheduled service, and when.
//!
//! Two drivers share the dispatch step ([`step`]): worker threads ([`worker`],
//! over [`run_queue`] and [`idle`]), and a single-threaded, seeded one under
//! virtual time ([`sim`]).

pub(crate) mod idle;
pub(crate) mod run_queue;
#[allow(unsafe_code)]
pub(crate) mod sim;
pub(crate) mod step;
#[allow(unsafe_code)]
pub(crate) mod worker;

use crate::context::Context;

/// A scheduled service in a run queue: the address of its context. Never 0.
pub(crate) type Task = usize;

/// The task of a context.
pub(crate) fn task_of(context: &Context) -> Task {
    std::ptr::from_ref(context) as usize
}
