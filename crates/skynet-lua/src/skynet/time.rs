//! Waiting and waking: `sleep`, `yield`, `wait`, `wakeup`, `fork`, `timeout`,
//! and cancellable timers.
//!
//! A timer whose caller ignores the coroutine that `skynet.timeout` returns is
//! a function in an anchor slot until it fires; 200,000 of them are no threads.

use std::ffi::c_int;
use std::ptr::null_mut;

use skynet_core::leading_integer;

use super::coro::{self, anchor, check_yield, new_session, release, suspend, wait_for};
use super::sessions::{Kind, Waiter};
use super::state::{NONE, special};
use super::tools::*;
use super::{call, ending, trace};
use crate::ffi::*;
use crate::vm::Vm;

/// Centiseconds, as upstream's TIMEOUT command reads them: numbers with an
/// integer value, cut to 32 bits, or text that begins with digits.
unsafe fn centiseconds(L: *mut lua_State, index: c_int, function: &str) -> i32 {
    // SAFETY: the caller is a native function with nothing to drop; the text of
    // the error is static or Lua's.
    unsafe {
        if let Some(value) = integer_at(L, index) {
            return value as i32;
        }
        if let Some(text) = string_at(L, index) {
            return leading_integer(text) as i32;
        }
        lua_pushfstring(L, c"bad argument #%d to '".as_ptr(), index);
        push_bytes(L, function.as_bytes());
        if lua_type(L, index) == LUA_TNUMBER {
            lua_pushstring(L, c"' (number has no integer representation)".as_ptr());
        } else {
            lua_pushfstring(
                L,
                c"' (string expected, got %s)".as_ptr(),
                luaL_typename(L, index),
            );
        }
        lua_concat(L, 3);
        fail_top(L)
    }
}

/// Puts the running coroutine to sleep on the token at index 1 (the only value
/// on the stack), for so many centiseconds or until it is woken.
unsafe fn sleep_on(L: *mut lua_State, vm: *mut Vm, time: Option<i32>) -> c_int {
    // SAFETY: called by a native function as its last act.
    unsafe {
        let s = sched(vm);
        // Whether the reason is a result of the function.
        let ctx = lua_KContext::from(time.is_some());
        if (*s).running == NONE {
            // Raises: nobody will wait. The timer comes all the same, as upstream's.
            if let Some(cs) = time {
                context(vm).timeout(cs, new_session(vm));
            }
            return suspend(L, vm, ctx, woken);
        }
        let session = new_session(vm);
        push_table(L, &raw mut (*s).refs.sleepers, false);
        lua_pushvalue(L, 1);
        if lua_rawget(L, -2) != LUA_TNIL {
            fail(L, b"token duplicative");
        }
        lua_settop(L, -2);
        lua_pushvalue(L, 1);
        lua_pushinteger(L, lua_Integer::from(session));
        lua_rawset(L, -3);
        // What may raise is behind us.
        let kind = match time {
            Some(cs) => {
                context(vm).timeout(cs, session);
                Kind::Coro
            }
            None => Kind::Wait,
        };
        let waiter = wait_for(vm, kind, session);
        (*s).pending.insert(session, waiter);
        lua_settop(L, 1);
        suspend(L, vm, ctx, woken)
    }
}

/// The token at index 2 (default: the calling thread) as the only value on the stack.
unsafe fn keep_token(L: *mut lua_State, index: c_int) {
    // SAFETY: as `sleep_on`.
    unsafe {
        lua_settop(L, index);
        if lua_type(L, index) == LUA_TNIL {
            lua_pushthread(L);
            lua_replace(L, index);
        }
        lua_copy(L, index, 1);
        lua_settop(L, 1);
    }
}

lua_functions! {
    /// `skynet.sleep(cs [, token])`
    pub(super) fn sleep(L, vm) {
        check_yield(L, vm);
        let cs = centiseconds(L, 1, "sleep");
        if call::is_traced(vm) {
            let running = (*sched(vm)).running;
            trace::line(L, vm, running, b"sleep", Some(1));
        }
        keep_token(L, 2);
        sleep_on(L, vm, Some(cs))
    }

    /// `skynet.yield()`
    pub(super) fn yield_now(L, vm) {
        lua_settop(L, 0);
        lua_pushinteger(L, 0);
        sleep(L)
    }

    /// `skynet.wait([token])`
    pub(super) fn wait(L, vm) {
        check_yield(L, vm);
        if call::is_traced(vm) {
            let running = (*sched(vm)).running;
            trace::line(L, vm, running, b"sleep", Some(1));
        }
        keep_token(L, 1);
        sleep_on(L, vm, None)
    }

    /// `skynet.wakeup(token)`
    pub(super) fn wakeup(L, vm) {
        lua_settop(L, 1);
        let s = sched(vm);
        if (*s).refs.sleepers == 0 || lua_type(L, 1) == LUA_TNIL {
            return 0;
        }
        push_ref(L, (*s).refs.sleepers);
        lua_pushvalue(L, 1);
        if lua_rawget(L, -2) == LUA_TNIL {
            return 0;
        }
        let session = lua_tointegerx(L, -1, null_mut()) as i32;
        lua_settop(L, 1);
        if (*s).woken.1 < (*s).woken_room {
            push_ref(L, (*s).refs.wakeups);
            lua_pushvalue(L, 1);
            lua_rawseti(L, -2, (*s).woken.1);
            (*s).woken.1 += 1;
        } else {
            lua_pushcfunction(L, enqueue);
            lua_pushvalue(L, 1);
            if lua_pcallk(L, 1, 0, 0, 0, None) != LUA_OK {
                // A wakeup that fails for want of memory would leave somebody
                // asleep for ever, in a `skynet.queue` for instance.
                (*s).failed.push_back((session, None));
            }
        }
        lua_pushboolean(L, 1);
        1
    }

    /// Puts a token into a new place of the queue.
    fn enqueue(L, vm) {
        let s = sched(vm);
        push_table(L, &raw mut (*s).refs.wakeups, false);
        lua_pushvalue(L, 1);
        lua_rawseti(L, -2, (*s).woken.1);
        (*s).woken.1 += 1;
        (*s).woken_room = (*s).woken.1;
        0
    }

    /// `skynet.fork(f, ...)`
    pub(super) fn fork(L, vm) {
        let count = lua_gettop(L);
        luaL_checkstack(L, 4, std::ptr::null());
        if count == 0 {
            lua_pushnil(L);
        }
        let index = coro::take(L, vm);
        let s = sched(vm);
        let thread = (&(*s).coros)[index as usize].thread;
        if !coro::has_room(thread, count + 4) {
            coro::give_back(vm, index);
            fail(L, b"stack overflow");
        }
        lua_xmove(L, thread, count.max(1));
        (*s).forks.push_back(index);
        if skl_nresults(L) == 0 {
            return 0;
        }
        lua_pushthread(thread);
        lua_xmove(thread, L, 1);
        1
    }

    /// `skynet.timeout(cs, f)`
    pub(super) fn timeout(L, vm) {
        let cs = centiseconds(L, 1, "timeout");
        lua_settop(L, 2);
        let s = sched(vm);
        if skl_nresults(L) == 0 && (*s).special & special::TIMERS == 0 {
            let session = start_timer(L, vm);
            context(vm).timeout(cs, session);
            return 0;
        }
        let index = coro::take(L, vm);
        let thread = (&(*s).coros)[index as usize].thread;
        lua_xmove(L, thread, 1);
        let session = new_session(vm);
        (&mut (*s).coros)[index as usize].waiting = session;
        (*s).pending.insert(session, Waiter::new(Kind::Coro, index));
        context(vm).timeout(cs, session);
        if (*s).special & special::TIMERS != 0 {
            trace::timer(L, vm, session, cs);
        }
        lua_pushthread(thread);
        lua_xmove(thread, L, 1);
        1
    }

    /// `skynet.timer(cs, f)`: ours. As `timeout`, and returns an object `t`
    /// with `t:cancel()`, true if `f` will not be called any more because of
    /// that. `f` is called without arguments that mean anything.
    pub(super) fn timer(L, vm) {
        let cs = centiseconds(L, 1, "timer");
        luaL_checktype(L, 2, LUA_TFUNCTION);
        lua_settop(L, 2);
        let place = lua_newuserdatauv(L, size_of::<i32>(), 0).cast::<i32>();
        place.write(0);
        if lua_getfield(L, LUA_REGISTRYINDEX, c"skynet.timer".as_ptr()) == LUA_TNIL {
            // Known by its name when all of it is there: any step may raise.
            lua_settop(L, -2);
            lua_createtable(L, 0, 3);
            lua_pushstring(L, c"skynet.timer".as_ptr());
            lua_setfield(L, -2, c"__name".as_ptr());
            lua_pushvalue(L, -1);
            lua_setfield(L, -2, c"__index".as_ptr());
            lua_pushcfunction(L, cancel);
            lua_setfield(L, -2, c"cancel".as_ptr());
            lua_pushvalue(L, -1);
            lua_setfield(L, LUA_REGISTRYINDEX, c"skynet.timer".as_ptr());
        }
        lua_setmetatable(L, 3);
        lua_pushvalue(L, 2);
        let session = start_timer(L, vm);
        place.write(session);
        context(vm).timeout(cs, session);
        1
    }

    /// `t:cancel()`
    fn cancel(L, vm) {
        let place = luaL_checkudata(L, 1, c"skynet.timer".as_ptr()).cast::<i32>();
        let session = place.read();
        place.write(0);
        lua_settop(L, 0);
        lua_pushboolean(L, c_int::from(cancel_timer(L, vm, session)));
        1
    }
}

/// Records the function on the top as a timer and pops it; returns the session
/// that the caller asks the node for.
pub(super) unsafe fn start_timer(L: *mut lua_State, vm: *mut Vm) -> i32 {
    // SAFETY: the caller vouches for L and vm.
    unsafe {
        let slot = anchor(L, vm);
        let session = new_session(vm);
        (*sched(vm))
            .pending
            .insert(session, Waiter::new(Kind::Timer, slot));
        session
    }
}

/// As [`start_timer`], of an alarm.
pub(super) unsafe fn start_alarm(L: *mut lua_State, vm: *mut Vm) -> i32 {
    // SAFETY: the caller vouches for L and vm.
    unsafe {
        let slot = anchor(L, vm);
        let session = new_session(vm);
        (*sched(vm))
            .pending
            .insert(session, Waiter::new(Kind::Alarm, slot));
        session
    }
}

/// The timer's message will be swallowed; its function is free now. False if
/// it has fired.
pub(super) unsafe fn cancel_timer(L: *mut lua_State, vm: *mut Vm, session: i32) -> bool {
    // SAFETY: the caller vouches for L (two free slots) and vm.
    unsafe {
        let s = sched(vm);
        match (*s).pending.get(session) {
            Some(waiter) if matches!(waiter.kind, Kind::Timer | Kind::Alarm) => {
                (*s).pending.insert(session, waiter.broken());
                release(L, vm, waiter.index);
                true
            }
            Some(waiter) if waiter.kind == Kind::Coro => {
                // Somebody listed the tasks: it has a coroutine by now.
                let coro = (&(*s).coros)[waiter.index as usize];
                if coro.state != super::state::State::Fresh {
                    return false;
                }
                (*s).pending.insert(session, waiter.broken());
                ending::close(L, vm, waiter.index);
                true
            }
            _ => false,
        }
    }
}

continuations! {
    /// A sleep or wait ends. The token is at index 1.
    fn woken(L, vm, says_why) {
        let s = sched(vm);
        let wake = std::mem::take(&mut (*s).wake);
        lua_settop(L, 1);
        // A wakeup has taken the token out already; another sleeper may have
        // it by now only if it was.
        if wake != super::state::Wake::Break {
            push_ref(L, (*s).refs.sleepers);
            lua_pushvalue(L, 1);
            lua_pushnil(L);
            lua_rawset(L, -3);
        }
        if call::is_traced(vm) {
            let running = (*s).running;
            trace::line(L, vm, running, b"resume", None);
        }
        if says_why != 0 && wake == super::state::Wake::Break {
            lua_pushstring(L, c"BREAK".as_ptr());
            return 1;
        }
        0
    }
}

/// Frees the token of a sleeper that will not wake up. Slots: 4.
pub(super) unsafe fn free_token(L: *mut lua_State, vm: *mut Vm, session: i32) {
    // SAFETY: the caller vouches for L and vm; assigning nil to the key that
    // lua_next gave is allowed, and ends the loop.
    unsafe {
        let s = sched(vm);
        if (*s).refs.sleepers == 0 || session == 0 {
            return;
        }
        let top = lua_gettop(L);
        push_ref(L, (*s).refs.sleepers);
        lua_pushnil(L);
        while lua_next(L, top + 1) != 0 {
            if lua_tointegerx(L, -1, null_mut()) == lua_Integer::from(session) {
                lua_settop(L, -2);
                lua_pushnil(L);
                lua_rawset(L, top + 1);
                break;
            }
            lua_settop(L, -2);
        }
        lua_settop(L, top);
    }
}

/// Gives all timers coroutines, for those who want to see them. May raise (memory).
pub(super) unsafe fn materialize(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: the caller vouches for L and vm.
    unsafe {
        let s = sched(vm);
        let timers: Vec<(i32, Waiter)> = (*s)
            .pending
            .iter()
            .filter(|(_, waiter)| waiter.kind == Kind::Timer)
            .collect();
        // A raised memory error would leak the list; so it lives in the Vm.
        let list = &raw mut (*s).timers;
        *list = timers;
        while let Some((session, waiter)) = (*list).pop() {
            let index = super::route::start_timer(L, vm, waiter.index);
            (&mut (*s).coros)[index as usize].waiting = session;
            (*s).pending.insert(session, Waiter::new(Kind::Coro, index));
        }
    }
}

/// Drops forks that were not started.
pub(super) unsafe fn discard_forks(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: the caller vouches for L and vm; these threads never ran.
    unsafe {
        let s = sched(vm);
        while let Some(index) = (*s).forks.pop_front() {
            if index != NONE {
                lua_settop((&(*s).coros)[index as usize].thread, 0);
                coro::drop_coro(L, vm, index);
            }
        }
    }
}
