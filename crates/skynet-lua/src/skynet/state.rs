//! The state of the scheduler of one VM.

use std::collections::{HashMap, VecDeque};
use std::ffi::c_void;

use skynet_core::Handle;

use super::sessions::Sessions;
use crate::ffi::lua_State;

/// "No coroutine", as an index.
pub(super) const NONE: u32 = u32::MAX;

/// Why a coroutine goes on; read by the continuation of the function in which
/// it waits, right after the resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Wake {
    /// For no reason of ours: somebody resumed it from outside.
    #[default]
    None,
    /// The answer (or timer) is `Scheduler::current`.
    Answer,
    /// `skynet.wakeup`.
    Break,
    /// The other side failed; `Scheduler::cause` has the reason.
    Failed,
    /// The call took too long.
    Deadline,
}

/// What the running coroutine said when it yielded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Yielded {
    /// Nothing: the yield is not ours.
    #[default]
    No,
    /// It waits for a session.
    Suspend,
    /// `skynet.exit`.
    Quit,
}

/// The message being dispatched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Current {
    pub(super) pointer: *const u8,
    pub(super) len: usize,
    pub(super) session: i32,
    pub(super) source: Handle,
    pub(super) kind: u8,
    /// A request that no coroutine has taken over yet: if routing it fails,
    /// its sender must be told.
    pub(super) unanswered: bool,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            pointer: std::ptr::null(),
            len: 0,
            session: 0,
            source: 0,
            kind: 0,
            unanswered: false,
        }
    }
}

/// Life of a coroutine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The slab's place is free.
    Free,
    /// Waits in the pool for work.
    Pooled,
    /// Has work but did not start: in the fork queue, or a timer.
    Fresh,
    /// Runs now.
    Running,
    /// Waits for a session.
    Suspended,
}

/// Bits of [`Coro::flags`].
pub(super) mod flag {
    /// `session` and `source` are those of a request.
    pub(crate) const REQUEST: u8 = 1;
    /// `session` is still owed an answer (0 included: then nobody waits).
    pub(crate) const OWES: u8 = 2;
    /// Has a trace tag in `Cold::tags`.
    pub(crate) const TRACED: u8 = 4;
    /// Tracing is off for it.
    pub(crate) const UNTRACED: u8 = 8;
    /// The serial request that runs now.
    pub(crate) const SERIAL: u8 = 16;
    /// Tells `skynet.request` of the answer to `session`.
    pub(crate) const SELECT: u8 = 32;
}

/// A framework coroutine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coro {
    pub(super) thread: *mut lua_State,
    /// Its place in the table of anchors.
    pub(super) slot: u32,
    /// Session of the request it serves.
    pub(super) session: i32,
    /// Source of the request it serves.
    pub(super) source: Handle,
    /// The session it waits for; 0: none.
    pub(super) waiting: i32,
    pub(super) state: State,
    pub(super) flags: u8,
}

/// A handler that `skynet.response` detached from its coroutine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Response {
    pub(super) session: i32,
    pub(super) source: Handle,
}

/// State that most services never need.
#[derive(Debug, Default)]
pub(super) struct Cold {
    /// Addresses that calls were made to by name, by session.
    pub(super) names: HashMap<i32, Box<[u8]>>,
    /// Open responses by number.
    pub(super) responses: HashMap<u32, Response>,
    pub(super) last_response: u32,
    /// Trace tags of coroutines, by index (`NONE`: the main chunk).
    pub(super) tags: HashMap<u32, Box<[u8]>>,
    /// Trace tags that came for the next request of a source.
    pub(super) tag_of_source: HashMap<Handle, Box<[u8]>>,
    pub(super) last_tag: u32,
    /// `skynet.trace_timeout`: where pending timers were made.
    pub(super) timer_traces: HashMap<i32, Box<[u8]>>,
    /// Where the no-yield sections that run now were entered.
    pub(super) noyield: Vec<Box<[u8]>>,
    pub(super) serial: super::serial::Serial,
}

/// Positions in the registry, all 0 until module `skynet` is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refs {
    /// `skynet`
    pub(super) module: i32,
    /// `skynet._proto`
    pub(super) proto: i32,
    /// slot -> thread or function that only we hold
    pub(super) anchors: i32,
    /// token -> session of who sleeps on it
    pub(super) sleepers: i32,
    /// The queue of woken tokens.
    pub(super) wakeups: i32,
    /// Threads that yielded outside of the framework, weak -> their request
    pub(super) parked: i32,
    /// Functions of the lazily loaded parts in Lua.
    pub(super) lazy: i32,
    /// The string `SERVICE_NAME`.
    pub(super) name_key: i32,
    /// Functions given to `dispatch_unknown_request` and `_response`, the
    /// handler of answers to `skynet.request`, `info_func`, and the debugger's hook.
    pub(super) handlers: i32,
}

/// Bits of [`Scheduler::special`]: what the dispatch of a message must look at.
pub(super) mod special {
    /// The debugger wants to see every message first.
    pub(crate) const HOOK: u8 = 1;
    /// Some protocol is serial.
    pub(crate) const SERIAL: u8 = 2;
    /// A trace tag came for the next request of some source.
    pub(crate) const TAGS: u8 = 4;
    /// `trace_timeout` is on.
    pub(crate) const TIMERS: u8 = 8;
}

/// State of the scheduler of one VM. It has no memory of its own until the
/// service does something that needs it.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) current: Current,
    pub(super) wake: Wake,
    pub(super) yielded: Yielded,
    pub(super) special: u8,
    /// `skynet.exit` was called: requests are refused.
    pub(super) exited: bool,
    /// Depth of no-yield sections.
    pub(super) noyield: u32,
    /// The coroutine that runs, or [`NONE`].
    pub(super) running: u32,
    pub(super) refs: Refs,
    pub(super) coros: Vec<Coro>,
    /// Free places of `coros`.
    pub(super) holes: Vec<u32>,
    /// Coroutines without work, the last used on top.
    pub(super) pool: Vec<u32>,
    /// Anchor slots: free ones, and how many were ever used.
    pub(super) free_slots: Vec<u32>,
    pub(super) slots: u32,
    pub(super) pending: Sessions,
    pub(super) forks: VecDeque<u32>,
    /// Woken tokens are at `woken.0 .. woken.1` of the queue table.
    pub(super) woken: (i64, i64),
    /// So many places the queue table has; they are never taken out again, so
    /// that filling one needs no memory.
    pub(super) woken_room: i64,
    /// Sessions that failed, with the reason.
    pub(super) failed: VecDeque<(i32, Option<Box<[u8]>>)>,
    pub(super) cause: Option<Box<[u8]>>,
    /// Error texts of the message being dispatched, joined by newlines.
    pub(super) errors: Vec<u8>,
    /// A coroutine died of a memory error.
    pub(super) memory_error: bool,
    /// A coroutine that stopped, with status and number of results: see `coro::answer_directly`.
    pub(super) unsettled: Option<(u32, i32, i32)>,
    /// Timers on their way to coroutines of their own.
    pub(super) timers: Vec<(i32, super::sessions::Waiter)>,
    /// The coroutine of the start function while it has not finished.
    pub(super) init: u32,
    pub(super) cold: Option<Box<Cold>>,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            current: Current::default(),
            wake: Wake::None,
            yielded: Yielded::No,
            special: 0,
            exited: false,
            noyield: 0,
            running: NONE,
            refs: Refs::default(),
            coros: Vec::new(),
            holes: Vec::new(),
            pool: Vec::new(),
            free_slots: Vec::new(),
            slots: 0,
            pending: Sessions::default(),
            forks: VecDeque::new(),
            woken: (0, 0),
            woken_room: 0,
            failed: VecDeque::new(),
            cause: None,
            errors: Vec::new(),
            memory_error: false,
            unsettled: None,
            timers: Vec::new(),
            init: NONE,
            cold: None,
        }
    }
}

impl Scheduler {
    pub(super) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_with(Box::default)
    }

    /// The coroutine that runs, if one does.
    pub(super) fn running(&mut self) -> Option<&mut Coro> {
        self.coros.get_mut(self.running as usize)
    }

    /// The thread that runs, NULL outside of coroutines.
    pub(super) fn running_thread(&self) -> *mut lua_State {
        self.coros
            .get(self.running as usize)
            .map_or(std::ptr::null_mut(), |coro| coro.thread)
    }

    /// The coroutine with this thread.
    pub(super) fn find(&self, thread: *const c_void) -> Option<u32> {
        self.coros
            .iter()
            .position(|coro| coro.state != State::Free && coro.thread.cast_const().cast() == thread)
            .map(|index| index as u32)
    }

    /// Forgets what was recorded about a pending session beside its entry.
    pub(super) fn forget(&mut self, session: i32) {
        if let Some(cold) = &mut self.cold {
            cold.names.remove(&session);
            cold.timer_traces.remove(&session);
        }
    }

    /// Gives memory back that a busy time left.
    pub(super) fn shrink(&mut self) {
        self.pending.shrink();
        self.coros.shrink_to_fit();
        self.holes.shrink_to_fit();
        self.pool.shrink_to_fit();
        self.free_slots.shrink_to_fit();
        self.forks.shrink_to_fit();
        self.failed.shrink_to_fit();
        self.errors = Vec::new();
    }
}
