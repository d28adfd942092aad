//! What the current thread is doing: which node it works for and which service it runs.

use std::cell::Cell;
use std::ptr;

use crate::message::Handle;
use crate::node::Node;

/// Pseudo-handles of threads that are not workers (spec/01-core.md §2.2).
pub mod thread_handle {
    /// The thread that built the node.
    pub const MAIN: u32 = 0xffff_ffff;
    /// The socket thread.
    pub const SOCKET: u32 = 0xffff_fffe;
    /// The timer thread.
    pub const TIMER: u32 = 0xffff_fffd;
    /// The monitor thread.
    pub const MONITOR: u32 = 0xffff_fffc;
}

/// The state of one of the node's threads; lives on its stack.
pub(crate) struct Current {
    node: *const Node,
    /// Index of the worker, or `usize::MAX`.
    worker: usize,
    handle: Cell<Handle>,
    /// Something waits for the end of the dispatch (collected socket writes).
    dispatch_end: Cell<bool>,
    /// The thread's surroundings before this one.
    outer: *const Current,
}

thread_local! {
    static CURRENT: Cell<*const Current> = const { Cell::new(ptr::null()) };
}

fn with<R>(f: impl FnOnce(Option<&Current>) -> R) -> R {
    // SAFETY: the pointer is NULL or to a `Current` on this thread's stack,
    // whose `enter` has not returned.
    f(unsafe { CURRENT.get().as_ref() })
}

/// Restores the thread's surroundings when a scope ends.
struct Leave(*const Current);

impl Drop for Leave {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Runs `f` as a thread of `node`.
pub(crate) fn enter<R>(node: &Node, worker: usize, handle: Handle, f: impl FnOnce() -> R) -> R {
    let current = Current {
        node,
        worker,
        handle: Cell::new(handle),
        dispatch_end: Cell::new(false),
        outer: CURRENT.get(),
    };
    let _leave = Leave(current.outer);
    CURRENT.set(&raw const current);
    f()
}

/// Runs `f` as a thread of `node` that is not a worker, under one of the
/// pseudo-handles of [`thread_handle`].
pub fn as_thread<R>(node: &Node, handle: Handle, f: impl FnOnce() -> R) -> R {
    enter(node, usize::MAX, handle, f)
}

/// The index of the worker of `node` that this thread is.
pub(crate) fn worker_of(node: &Node) -> Option<usize> {
    with(|c| {
        c.filter(|c| ptr::eq(c.node, node) && c.worker != usize::MAX)
            .map(|c| c.worker)
    })
}

/// The handle of the service that runs here.
pub(crate) fn handle() -> Handle {
    with(|c| c.map_or(0, |c| c.handle.get()))
}

/// Notes which service runs here from now on.
pub(crate) fn set_handle(handle: Handle) {
    with(|c| {
        if let Some(c) = c {
            c.handle.set(handle);
        }
    });
}

/// Calls `f` with the node this thread works for.
pub fn with_node<R>(f: impl FnOnce(Option<&Node>) -> R) -> R {
    let node = with(|c| c.map_or(ptr::null(), |c| c.node));
    // SAFETY: a thread is in a node's scope only while that node lives.
    f(unsafe { node.as_ref() })
}

/// Asks for [`Component::dispatch_end`](crate::node::Component::dispatch_end) when the dispatch
/// of `node` that runs on this thread is over; false if none runs here. The pointer is only compared.
pub fn at_dispatch_end(node: *const Node) -> bool {
    with(|c| {
        let Some(c) = c.filter(|c| c.worker != usize::MAX && ptr::eq(c.node, node)) else {
            return false;
        };
        c.dispatch_end.set(true);
        true
    })
}

/// Whether [`at_dispatch_end`] was called since the last time.
pub(crate) fn take_dispatch_end() -> bool {
    with(|c| c.is_some_and(|c| c.dispatch_end.replace(false)))
}
