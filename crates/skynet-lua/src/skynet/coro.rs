//! Framework coroutines: made, pooled, run, ended.
//!
//! A coroutine's thread is anchored in a Lua table as long as we hold it. The
//! stack of one that starts to work has its main function twice: index 1 keeps
//! it for messages about it, index 2 is called. A thread whose function has
//! returned is as good as new and goes to the pool.

use std::ffi::c_int;
use std::ptr::null_mut;

use super::ending::*;
use super::serial;
use super::sessions::{Kind, Waiter, Watch};
use super::state::{Coro, NONE, State, Wake, Yielded, flag, special};
use super::tools::*;
use crate::ffi::*;
use crate::lib_profile;
use crate::vm::{self, Vm};

/// Anchors the value on the top of `L` and pops it. May raise (memory).
pub(super) unsafe fn anchor(L: *mut lua_State, vm: *mut Vm) -> u32 {
    // SAFETY: the caller vouches for L (one free slot) and vm.
    unsafe {
        let s = sched(vm);
        let slot = match (*s).free_slots.last() {
            Some(&slot) => slot,
            None => (*s).slots + 1,
        };
        push_ref(L, (*s).refs.anchors);
        lua_insert(L, -2);
        lua_rawseti(L, -2, lua_Integer::from(slot));
        lua_settop(L, -2);
        // Nothing raised: the slot is taken.
        if (*s).free_slots.pop().is_none() {
            (*s).slots = slot;
        }
        slot
    }
}

/// Frees an anchor slot. Slots of the stack: 2. Does not raise: the key exists.
pub(super) unsafe fn release(L: *mut lua_State, vm: *mut Vm, slot: u32) {
    // SAFETY: the caller vouches for L and vm.
    unsafe {
        let s = sched(vm);
        push_ref(L, (*s).refs.anchors);
        lua_pushnil(L);
        lua_rawseti(L, -2, lua_Integer::from(slot));
        lua_settop(L, -2);
        (*s).free_slots.push(slot);
    }
}

/// Pushes what is anchored in a slot.
pub(super) unsafe fn push_anchored(L: *mut lua_State, vm: *mut Vm, slot: u32) {
    // SAFETY: the caller vouches for L (two free slots) and vm.
    unsafe {
        push_ref(L, (*sched(vm)).refs.anchors);
        lua_rawgeti(L, -1, lua_Integer::from(slot));
        lua_remove(L, -2);
    }
}

/// A coroutine without work, from the pool or new. Its stack is empty, its
/// state `Fresh`. May raise (memory).
#[inline]
pub(super) unsafe fn take(L: *mut lua_State, vm: *mut Vm) -> u32 {
    // SAFETY: the caller vouches for L (three free slots) and vm.
    unsafe {
        let s = sched(vm);
        match (*s).pool.pop() {
            Some(index) => {
                (&mut (*s).coros)[index as usize].state = State::Fresh;
                index
            }
            None => make(L, vm),
        }
    }
}

#[cold]
unsafe fn make(L: *mut lua_State, vm: *mut Vm) -> u32 {
    // SAFETY: as `take`.
    unsafe {
        let thread = lua_newthread(L);
        if (*vm).memory.limit != 0 {
            lua_checkstack(thread, LIMITED);
        }
        adopt(L, vm, thread)
    }
}

/// Slots of a coroutine's stack under a memory limit. Lua collects no garbage
/// to make a stack larger, so code that handles a memory error could fail for
/// want of some slots while there is garbage.
const LIMITED: c_int = 80;

/// The service has a memory limit from now on.
pub(crate) unsafe fn limited(vm: *mut Vm) {
    // SAFETY: this thread runs the VM; the coroutines are alive, and
    // lua_checkstack does not raise. Nothing else uses the list meanwhile.
    unsafe {
        for coro in &(*sched(vm)).coros {
            if coro.state != State::Free {
                lua_checkstack(coro.thread, LIMITED);
            }
        }
    }
}

/// Takes the thread on the top of `L` into the slab and pops it.
pub(super) unsafe fn adopt(L: *mut lua_State, vm: *mut Vm, thread: *mut lua_State) -> u32 {
    // SAFETY: as `take`.
    unsafe {
        let slot = anchor(L, vm);
        let s = sched(vm);
        let coro = Coro {
            thread,
            slot,
            session: 0,
            source: 0,
            waiting: 0,
            state: State::Fresh,
            flags: 0,
        };
        match (*s).holes.pop() {
            Some(index) => {
                (&mut (*s).coros)[index as usize] = coro;
                index
            }
            None => {
                (&mut (*s).coros).push(coro);
                (&(*s).coros).len() as u32 - 1
            }
        }
    }
}

/// Makes room for `count` values on a coroutine's stack; false if there is none.
pub(super) unsafe fn has_room(thread: *mut lua_State, count: c_int) -> bool {
    // SAFETY: lua_checkstack does not raise; the caller vouches for the thread.
    count <= 16 || unsafe { lua_checkstack(thread, count) != 0 }
}

/// A coroutine that [`take`] has given gets no work after all.
#[cold]
pub(super) unsafe fn give_back(vm: *mut Vm, index: u32) {
    // SAFETY: the caller vouches for vm; the stack of `index` is empty.
    unsafe {
        let s = sched(vm);
        (&mut (*s).coros)[index as usize].state = State::Pooled;
        (*s).pool.push(index);
    }
}

/// Gives up a coroutine that has ended or will not go on: its place is free,
/// its thread garbage as soon as nobody else holds it.
pub(super) unsafe fn drop_coro(L: *mut lua_State, vm: *mut Vm, index: u32) {
    // SAFETY: the caller vouches for L (two slots) and vm; `index` is in use.
    unsafe {
        let s = sched(vm);
        let coro = (&(*s).coros)[index as usize];
        forget_request(vm, index);
        release(L, vm, coro.slot);
        let place = &mut (&mut (*s).coros)[index as usize];
        place.state = State::Free;
        place.thread = null_mut();
        place.waiting = 0;
        place.flags = 0;
        (*s).holes.push(index);
        if (*s).init == index {
            (*s).init = NONE;
        }
    }
}

/// Drops what belongs to the request of a coroutine.
pub(super) unsafe fn forget_request(vm: *mut Vm, index: u32) {
    // SAFETY: the caller vouches for vm; `index` is in use.
    unsafe {
        let s = sched(vm);
        let flags = (&(*s).coros)[index as usize].flags;
        if flags & flag::TRACED != 0 {
            (*s).cold().tags.remove(&index);
        }
        if flags & flag::SERIAL != 0 {
            serial::finished(vm);
        }
        (&mut (*s).coros)[index as usize].flags = 0;
    }
}

/// Runs a coroutine whose function and arguments are on its stack (or that
/// waits), then whatever its end or yield sets free: woken coroutines one by
/// one, then failed calls (spec/02-lua-api.md §2.3).
pub(super) unsafe fn run(L: *mut lua_State, vm: *mut Vm, index: u32, nargs: c_int) {
    let (mut index, mut nargs) = (index, nargs);
    // SAFETY: the caller vouches for L, vm and the coroutine; fields are
    // borrowed for single statements.
    unsafe {
        loop {
            if (*vm).profiling {
                lib_profile::profile_in(L, (&(*sched(vm)).coros)[index as usize].thread);
            }
            let (status, results) = resume(L, vm, index, nargs);
            if (*vm).profiling {
                // Also where the profile began in this run.
                lib_profile::profile_out(L, (&(*sched(vm)).coros)[index as usize].thread);
            }
            if !went_well(vm, index, status, results) && !stopped(L, vm, index, status, results) {
                return;
            }
            if !has_more(vm) {
                return;
            }
            match next(L, vm) {
                Some(work) => (index, nargs) = work,
                None => return,
            }
        }
    }
}

/// Resumes a coroutine, as the running one. Does not raise.
#[inline]
unsafe fn resume(L: *mut lua_State, vm: *mut Vm, index: u32, nargs: c_int) -> (c_int, c_int) {
    // SAFETY: as `run`.
    unsafe {
        let s = sched(vm);
        let outer = (*s).running;
        let coro = &mut (&mut (*s).coros)[index as usize];
        coro.state = State::Running;
        coro.waiting = 0;
        let thread = coro.thread;
        (*s).running = index;
        (*s).yielded = Yielded::No;
        let mut results = 0;
        let status = vm::resume(vm, thread, L, nargs, &mut results);
        (*s).running = outer;
        (*s).wake = Wake::None;
        (status, results)
    }
}

/// Settles the two usual ends of a run, without raising: the coroutine waits
/// for a session, or returned and owes nothing. False if it is another.
#[inline]
pub(super) unsafe fn went_well(vm: *mut Vm, index: u32, status: c_int, results: c_int) -> bool {
    // SAFETY: as `run`.
    unsafe {
        let s = sched(vm);
        let coro = &mut (&mut (*s).coros)[index as usize];
        if status == LUA_YIELD && results == 0 && (*s).yielded == Yielded::Suspend {
            coro.state = State::Suspended;
            return true;
        }
        if status == LUA_OK && coro.flags & !(flag::REQUEST | flag::SELECT) == 0 {
            coro.state = State::Pooled;
            coro.flags = 0;
            // It has no to-be-closed variables at this level.
            lua_settop(coro.thread, 0);
            (*s).pool.push(index);
            if (*s).init == index {
                (*s).init = NONE;
            }
            return true;
        }
        false
    }
}

/// Whether wakeups or failures are to be handled.
#[inline]
pub(super) unsafe fn has_more(vm: *mut Vm) -> bool {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let s = sched(vm);
        (*s).woken.0 != (*s).woken.1 || !(*s).failed.is_empty()
    }
}

/// Wakes the coroutine that waits for the current answer, outside of any
/// protected call. False, with nothing done, if it is not that simple. What the
/// coroutine leaves to do is done by the protected `rest` (see [`take_rest`]).
#[inline]
pub(super) unsafe fn answer_directly(vm: *mut Vm, session: i32, rest: impl FnOnce()) -> bool {
    // SAFETY: as `run`, on the main thread, which rests. Nothing here raises:
    // the resume protects what runs in it.
    unsafe {
        let s = sched(vm);
        let Some(waiter) = (*s).pending.get(session) else {
            return false;
        };
        if waiter.kind != Kind::Coro
            || waiter.watching == Watch::Name
            || (*s).special & (special::HOOK | special::TIMERS) != 0
            || (*vm).profiling
            || !is_waiting(vm, waiter.index, session)
        {
            return false;
        }
        (*s).pending.remove(session);
        (*s).wake = Wake::Answer;
        let (status, results) = resume((*vm).main, vm, waiter.index, 0);
        // A profile may have begun meanwhile; its table is not touched out here.
        if (*vm).profiling || !went_well(vm, waiter.index, status, results) {
            (*s).unsettled = Some((waiter.index, status, results));
            rest();
        } else if has_more(vm) || !(*s).forks.is_empty() {
            rest();
        }
        true
    }
}

/// The rest of [`answer_directly`], in protected mode.
pub(super) unsafe fn take_rest(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: as `run`.
    unsafe {
        let mut more = true;
        if let Some((index, status, results)) = (*sched(vm)).unsettled.take() {
            if (*vm).profiling {
                lib_profile::profile_out(L, (&(*sched(vm)).coros)[index as usize].thread);
            }
            more = went_well(vm, index, status, results) || stopped(L, vm, index, status, results);
        }
        if more {
            settle(L, vm);
        }
        drain_forks(L, vm);
    }
}

/// Runs what wakeups and failures have set free, when no coroutine ran before.
pub(super) unsafe fn settle(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: as `run`.
    unsafe {
        if let Some((index, nargs)) = next(L, vm) {
            run(L, vm, index, nargs);
        }
    }
}

/// The next coroutine that a wakeup or a failure has set free, with the number
/// of its arguments.
#[cold]
unsafe fn next(L: *mut lua_State, vm: *mut Vm) -> Option<(u32, c_int)> {
    // SAFETY: as `run`.
    unsafe {
        if let Some(index) = next_woken(L, vm) {
            return Some((index, 0));
        }
        let s = sched(vm);
        while let Some((session, cause)) = (*s).failed.pop_front() {
            let Some(waiter) = (*s).pending.remove(session) else {
                continue;
            };
            (*s).forget(session);
            match waiter.kind {
                Kind::Select => {
                    drop(cause);
                    // May raise: then it is for later.
                    (*s).pending.insert(session, waiter);
                    (*s).failed.push_front((session, None));
                    let work = super::select::start(L, vm, session, false);
                    (*s).failed.pop_front();
                    (*s).pending.remove(session);
                    return Some(work);
                }
                // Woken by what could not queue a token. (A call is watched.)
                Kind::Wait | Kind::Coro
                    if waiter.watching == Watch::No && is_waiting(vm, waiter.index, session) =>
                {
                    super::time::free_token(L, vm, session);
                    if waiter.kind == Kind::Coro {
                        (*s).pending.insert(session, waiter.broken());
                    }
                    (*s).wake = Wake::Break;
                    return Some((waiter.index, 0));
                }
                Kind::Coro if is_waiting(vm, waiter.index, session) => {
                    (*s).cause = cause;
                    (*s).wake = Wake::Failed;
                    return Some((waiter.index, 0));
                }
                _ => {}
            }
        }
        None
    }
}

/// Whether the coroutine still waits for this session: code that loses a yield
/// of ours (a native `coroutine.wrap` around a call) makes it go on elsewhere.
pub(super) unsafe fn is_waiting(vm: *mut Vm, index: u32, session: i32) -> bool {
    // SAFETY: the caller vouches for vm.
    unsafe {
        (&(*sched(vm)).coros)
            .get(index as usize)
            .is_some_and(|coro| coro.state == State::Suspended && coro.waiting == session)
    }
}

/// Takes woken tokens until one has a sleeper.
unsafe fn next_woken(L: *mut lua_State, vm: *mut Vm) -> Option<u32> {
    // SAFETY: as `run`.
    unsafe {
        let s = sched(vm);
        while (*s).woken.0 != (*s).woken.1 {
            let at = (*s).woken.0;
            push_ref(L, (*s).refs.wakeups);
            push_ref(L, (*s).refs.sleepers);
            // wakeups, sleepers
            lua_rawgeti(L, -2, at);
            lua_pushvalue(L, -1);
            lua_rawget(L, -3);
            // wakeups, sleepers, token, session
            let session = lua_tointegerx(L, -1, null_mut()) as i32;
            lua_settop(L, -2);
            lua_pushnil(L);
            lua_rawset(L, -3);
            // wakeups, sleepers
            lua_settop(L, -2);
            lua_pushboolean(L, 0);
            lua_rawseti(L, -2, at);
            lua_settop(L, -2);
            (*s).woken.0 = at + 1;
            if (*s).woken.0 == (*s).woken.1 {
                (*s).woken = (0, 0);
            }
            let Some(waiter) = (*s).pending.get(session) else {
                continue;
            };
            match waiter.kind {
                // No message comes for a wait, so there is nothing to swallow.
                Kind::Wait => {
                    (*s).pending.remove(session);
                }
                Kind::Coro => (*s).pending.insert(session, waiter.broken()),
                _ => continue,
            }
            if is_waiting(vm, waiter.index, session) {
                (*s).wake = Wake::Break;
                return Some(waiter.index);
            }
        }
        None
    }
}

/// Runs the forks until there are none, those that forks make included.
#[inline]
pub(super) unsafe fn drain_forks(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: as `run`.
    unsafe {
        let s = sched(vm);
        while let Some(index) = (*s).forks.pop_front() {
            if index == NONE {
                settle(L, vm);
                continue;
            }
            let nargs = lua_gettop((&(*s).coros)[index as usize].thread) - 1;
            run(L, vm, index, nargs);
        }
    }
}

/// A session that is not pending.
#[inline]
pub(super) unsafe fn new_session(vm: *mut Vm) -> i32 {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let s = sched(vm);
        loop {
            let session = context(vm).new_session();
            if !(*s).pending.contains(session) {
                return session;
            }
        }
    }
}

/// The running coroutine waits for `session`: notes that and makes the entry
/// for the table of sessions. The caller yields next, with [`suspend`].
#[inline]
pub(super) unsafe fn wait_for(vm: *mut Vm, kind: Kind, session: i32) -> Waiter {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let s = sched(vm);
        let index = (*s).running;
        if let Some(coro) = (*s).running() {
            coro.waiting = session;
        }
        Waiter::new(kind, index)
    }
}

/// Raises if the code that runs is in a no-yield section. Called before
/// anything is sent or recorded.
#[inline]
pub(super) unsafe fn check_yield(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: the caller vouches for L and vm.
    unsafe {
        if (*sched(vm)).noyield != 0 {
            super::noyield::violated(L, vm);
        }
    }
}

/// Yields to the scheduler; `k` goes on. The last thing a native function does.
#[inline]
pub(super) unsafe fn suspend(
    L: *mut lua_State,
    vm: *mut Vm,
    ctx: lua_KContext,
    k: lua_KFunction,
) -> c_int {
    // SAFETY: the caller vouches for L and vm and has nothing to drop.
    unsafe {
        let s = sched(vm);
        if L == (*s).running_thread() {
            (*s).yielded = Yielded::Suspend;
            return lua_yieldk(L, 0, ctx, Some(k));
        }
        // A coroutine inside of it: whoever resumed it hands the yield on.
        lua_pushstring(L, c"SUSPEND".as_ptr());
        lua_yieldk(L, 1, ctx, Some(k))
    }
}

/// Answers ERROR to the request of a coroutine that will not do it itself.
pub(super) unsafe fn refuse(vm: *mut Vm, index: u32, why: &[u8]) {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let s = sched(vm);
        let coro = (&(*s).coros)[index as usize];
        (&mut (*s).coros)[index as usize].flags &= !flag::OWES;
        if coro.flags & flag::OWES != 0 && coro.session != 0 {
            reply_error(vm, coro.source, coro.session, why);
        }
    }
}

/// Lets go of the pooled coroutines and of memory that a busy time left.
pub(super) unsafe fn trim(vm: *mut Vm) {
    // SAFETY: the caller vouches for vm, which rests; `drop_coro` raises nothing.
    unsafe {
        let s = sched(vm);
        if (*s).refs.module == 0 {
            return;
        }
        let L = (*vm).main;
        if lua_checkstack(L, 4) == 0 {
            return;
        }
        while let Some(index) = (*s).pool.pop() {
            drop_coro(L, vm, index);
        }
        let used = (&(*s).coros)
            .iter()
            .rposition(|coro| coro.state != State::Free)
            .map_or(0, |last| last + 1);
        (*s).coros.truncate(used);
        (*s).holes.retain(|&hole| (hole as usize) < used);
        (*s).shrink();
    }
}
