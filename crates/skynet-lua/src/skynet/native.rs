//! The functions that the parts in Lua get beside module `skynet`.

use std::ptr::null_mut;

use super::sessions::{Kind, Waiter};
use super::state::State;
use super::tools::*;
use super::{handlers, lib, park, select, time, trace};
use crate::ffi::*;

/// Pushes the table of these functions. Made for each part; they are few.
pub(super) unsafe fn push(L: *mut lua_State) {
    // SAFETY: called by `lazy` with free slots.
    unsafe {
        new_library(
            L,
            &[
                (c"session", select::session),
                (c"ask", select::ask),
                (c"on_answer", select::on_answer),
                (c"swallow", swallow),
                (c"alarm", alarm),
                (c"wakeup", select::wakeup),
                (c"count", count),
                (c"sessions", sessions),
                (c"traceback", traceback),
                (c"session_of", session_of),
                (c"starting", starting),
                (c"dispatch_message", lib::dispatch_message),
                (c"info", handlers::info),
                (c"hook", handlers::hook),
                (c"resume", park::unpark),
            ],
            0,
        );
    }
}

lua_functions! {
    /// `swallow(session)`: what comes for it is dropped.
    fn swallow(L, vm) {
        let session = lua_tointegerx(L, 1, null_mut()) as i32;
        let s = sched(vm);
        if !time::cancel_timer(L, vm, session)
            && let Some(waiter) = (*s).pending.get(session)
        {
            (*s).pending.insert(session, waiter.broken());
        }
        0
    }

    /// `alarm(cs, t)`: sets `t.over`, which is false till then, when the
    /// time has passed, and wakes who waits for `t`; returns its session, for
    /// `swallow`. It needs no memory then.
    fn alarm(L, vm) {
        let cs = luaL_checkinteger(L, 1) as i32;
        luaL_checktype(L, 2, LUA_TTABLE);
        lua_settop(L, 2);
        let session = time::start_alarm(L, vm);
        context(vm).timeout(cs, session);
        lua_pushinteger(L, lua_Integer::from(session));
        1
    }

    /// `count()`: pending sessions that something waits for.
    fn count(L, vm) {
        let count = (*sched(vm))
            .pending
            .iter()
            .filter(|(_, waiter)| !matches!(waiter.kind, Kind::Break | Kind::Deadline))
            .count();
        lua_pushinteger(L, count as lua_Integer);
        1
    }

    /// `sessions()`: session -> thread, or `BREAK`, or the word for what is no thread.
    fn sessions(L, vm) {
        lua_settop(L, 0);
        time::materialize(L, vm);
        let s = sched(vm);
        lua_createtable(L, 0, 0);
        // A copy in the Vm: the pushes below may raise.
        let list = &raw mut (*s).timers;
        *list = (*s).pending.iter().collect();
        while let Some((session, waiter)) = (*list).pop() {
            push_waiter(L, vm, waiter);
            lua_rawseti(L, 1, lua_Integer::from(session));
        }
        1
    }

    /// `traceback(session)`: of who waits for it; `BREAK`; nil if nobody does.
    fn traceback(L, vm) {
        let session = luaL_checkinteger(L, 1) as i32;
        lua_settop(L, 1);
        time::materialize(L, vm);
        let Some(waiter) = (*sched(vm)).pending.get(session) else {
            lua_pushnil(L);
            return 1;
        };
        push_waiter(L, vm, waiter);
        if lua_type(L, -1) == LUA_TTHREAD {
            trace::push_traceback(L, vm, session, lua_tothread(L, -1));
        }
        1
    }

    /// `session_of(co)`: the session it waits for.
    fn session_of(L, vm) {
        luaL_checktype(L, 1, LUA_TTHREAD);
        let s = sched(vm);
        let found = (*s).find(lua_topointer(L, 1));
        let session = found.map_or(0, |index| {
            let coro = (&(*s).coros)[index as usize];
            match coro.state {
                State::Suspended | State::Fresh => coro.waiting,
                _ => 0,
            }
        });
        if session == 0 || !(*s).pending.contains(session) {
            return 0;
        }
        lua_pushinteger(L, lua_Integer::from(session));
        1
    }

    /// `starting()`: the coroutine of the start function, while it has not finished.
    fn starting(L, vm) {
        let s = sched(vm);
        let Some(coro) = (&(*s).coros).get((*s).init as usize).copied() else {
            return 0;
        };
        lua_settop(L, 0);
        lua_pushthread(coro.thread);
        if coro.thread != L {
            lua_xmove(coro.thread, L, 1);
        }
        1
    }
}

/// Pushes what waits: a thread or a word.
unsafe fn push_waiter(L: *mut lua_State, vm: *mut crate::vm::Vm, waiter: Waiter) {
    // SAFETY: called by native functions with free slots; a waiting coroutine's
    // thread has a slot for itself, or the word is pushed.
    unsafe {
        match waiter.kind {
            Kind::Coro | Kind::Wait => {
                let coro = (&(*sched(vm)).coros).get(waiter.index as usize).copied();
                match coro {
                    Some(coro) if coro.state != State::Free => {
                        if coro.thread != L && lua_checkstack(coro.thread, 1) == 0 {
                            lua_pushstring(L, c"thread".as_ptr());
                        } else {
                            lua_pushthread(coro.thread);
                            if coro.thread != L {
                                lua_xmove(coro.thread, L, 1);
                            }
                        }
                    }
                    _ => {
                        lua_pushstring(L, c"BREAK".as_ptr());
                    }
                }
            }
            Kind::Select => {
                lua_pushstring(L, c"select".as_ptr());
            }
            Kind::Deadline | Kind::Break | Kind::Timer | Kind::Alarm => {
                lua_pushstring(L, c"BREAK".as_ptr());
            }
        }
    }
}
