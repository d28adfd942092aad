//! Ends: of the service (`exit`), of coroutines (`killthread`), of others (`term`).

use std::ffi::c_int;
use std::ptr::null_mut;

use skynet_core::{Handle, Payload, ptype};

use super::coro::refuse;
use super::sessions::{Kind, Watch};
use super::state::{NONE, State, Yielded};
use super::tools::*;
use super::{ending, lazy, route, time};
use crate::ffi::*;
use crate::seri::value::{Value, encode};
use crate::vm::Vm;

lua_functions! {
    /// `skynet.exit()` (spec/02-lua-api.md §6.1)
    pub(super) fn exit(L, vm) {
        lua_settop(L, 0);
        leave(L, vm)
    }

    /// `skynet.term(addr)`: as if that address had died.
    pub(super) fn term(L, vm) {
        lua_settop(L, 1);
        match lua_type(L, 1) {
            LUA_TNUMBER => {
                let source = lua_tointegerx(L, 1, null_mut()) as Handle;
                route::fail_calls(vm, source, 0, b"");
            }
            LUA_TSTRING => route::fail_calls_by_name(vm, string_at(L, 1).unwrap_or_default()),
            _ => {}
        }
        0
    }

    /// The dispatch function of protocol `error`: `(session, source)`.
    pub(super) fn error_dispatch(L, vm) {
        let session = lua_tointegerx(L, 1, null_mut()) as i32;
        let source = lua_tointegerx(L, 2, null_mut()) as Handle;
        route::fail_calls(vm, source, session, b"");
        0
    }

    /// `skynet.killthread(co)`: a coroutine, or a pattern to find in its text form.
    pub(super) fn killthread(L, vm) {
        lua_settop(L, 1);
        let found = match lua_type(L, 1) {
            LUA_TTHREAD => (*sched(vm)).find(lua_topointer(L, 1)),
            LUA_TSTRING => find_by_pattern(L, vm),
            _ => None,
        };
        let Some(index) = found else {
            return 0;
        };
        let thread = (&(*sched(vm)).coros)[index as usize].thread;
        lua_settop(L, 1);
        luaL_checkstack(L, 8, std::ptr::null());
        lua_pushthread(thread);
        lua_xmove(thread, L, 1);
        if kill(L, vm, index) {
            lua_settop(L, 2);
            return 1;
        }
        0
    }
}

/// Whether a coroutine can be killed: it waits, or did not start.
unsafe fn killable(vm: *mut Vm, index: u32) -> bool {
    // SAFETY: the caller vouches for vm.
    unsafe {
        let s = sched(vm);
        match (&(*s).coros)[index as usize].state {
            State::Suspended | State::Fresh => index != (*s).running,
            State::Free | State::Pooled | State::Running => false,
        }
    }
}

/// The first coroutine whose text form has the pattern at index 1.
unsafe fn find_by_pattern(L: *mut lua_State, vm: *mut Vm) -> Option<u32> {
    // SAFETY: called by a native function; the stack is restored by the caller.
    unsafe {
        time::materialize(L, vm);
        lazy::push_loaded(L, c"string");
        lua_getfield(L, -1, c"find".as_ptr());
        let find = lua_gettop(L);
        let mut index = 0;
        while (index as usize) < (&(*sched(vm)).coros).len() {
            if killable(vm, index) {
                lua_pushvalue(L, find);
                let thread = (&(*sched(vm)).coros)[index as usize].thread;
                lua_pushthread(thread);
                lua_xmove(thread, L, 1);
                luaL_tolstring(L, -1, null_mut());
                lua_remove(L, -2);
                lua_pushvalue(L, 1);
                lua_callk(L, 2, 1, 0, None);
                if lua_toboolean(L, -1) != 0 {
                    return Some(index);
                }
                lua_settop(L, find);
            }
            index += 1;
        }
        None
    }
}

/// Ends a coroutine that does not run. False if it cannot be.
unsafe fn kill(L: *mut lua_State, vm: *mut Vm, index: u32) -> bool {
    // SAFETY: called by a native function with free slots.
    unsafe {
        let s = sched(vm);
        if !killable(vm, index) {
            return false;
        }
        if let Some(at) = (*s).forks.iter().position(|&fork| fork == index) {
            (*s).forks.remove(at);
        }
        refuse(vm, index, b"the coroutine of the request was killed");
        let session = (&(*s).coros)[index as usize].waiting;
        if let Some(waiter) = (*s).pending.get(session)
            && waiter.index == index
        {
            time::free_token(L, vm, session);
            if waiter.kind == Kind::Wait {
                (*s).pending.remove(session);
            } else {
                (*s).pending.insert(session, waiter.broken());
            }
        }
        if session != 0 && super::serial::in_use(vm) {
            super::serial::forget_call(vm, session);
        }
        ending::close(L, vm, index);
        true
    }
}

/// Everything that `skynet.exit` does; the last act of a native function.
pub(super) unsafe fn leave(L: *mut lua_State, vm: *mut Vm) -> c_int {
    // SAFETY: called by a native function with nothing to drop.
    unsafe {
        let s = sched(vm);
        if (*s).noyield != 0 {
            super::noyield::violated(L, vm);
        }
        if !(*s).exited {
            luaL_checkstack(L, 6, std::ptr::null());
            end(L, vm);
        }
        if L == (*s).running_thread() {
            (*s).yielded = Yielded::Quit;
            return lua_yieldk(L, 0, 0, None);
        }
        lua_pushstring(L, c"QUIT".as_ptr());
        lua_yieldk(L, 1, 0, None)
    }
}

/// The end itself. Raises nothing, so all of it is done.
pub(super) unsafe fn end(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: the caller vouches for L (six free slots) and vm.
    unsafe {
        let s = sched(vm);
        time::discard_forks(L, vm);
        let handle = i64::from(context(vm).handle());
        let values = [
            Value::String(b"REMOVE".to_vec()),
            Value::Integer(handle),
            Value::Boolean(false),
        ];
        tell_launcher(vm, &values);
        // Before anybody is told: who calls again then finds nobody, not a
        // mailbox that will be thrown away.
        context(vm).node().retire(context(vm).handle());
        refuse_requests(vm);
        close_coroutines(L, vm);
        refuse_responses(vm);
        tell_watched(vm);
        (*s).exited = true;
        context(vm).exit();
    }
}

/// Sends a command of the protocol `lua` to the launcher, packed without Lua.
pub(super) unsafe fn tell_launcher(vm: *mut Vm, values: &[Value]) {
    let mut bytes = Vec::new();
    // A text of gigabytes could not be packed; the command goes without it.
    if encode(values, &mut bytes).is_err() {
        bytes.clear();
        let _ = encode(&values[..1], &mut bytes);
    }
    // SAFETY: the caller vouches for vm.
    let context = unsafe { context(vm) };
    let payload = Payload::from_slice(&bytes);
    let _ = context.send_name(b".launcher", context.handle(), ptype::LUA, 0, payload);
}

unsafe fn refuse_requests(vm: *mut Vm) {
    // SAFETY: as `leave`; no Lua runs.
    unsafe {
        for index in 0..(&(*sched(vm)).coros).len() as u32 {
            refuse(vm, index, b"the service has exited");
        }
    }
}

/// Ends all coroutines that wait. Their to-be-closed variables may do
/// anything, also make new ones, which are ended too; a limit keeps one that
/// never stops making them from keeping the service alive.
unsafe fn close_coroutines(L: *mut lua_State, vm: *mut Vm) {
    const MOST: u32 = 1 << 20;
    // SAFETY: as `leave`.
    unsafe {
        let s = sched(vm);
        let mut index = 0;
        let mut closed = 0;
        while (index as usize) < (&(*s).coros).len() && closed < MOST {
            let coro = (&(*s).coros)[index as usize];
            if index != (*s).running && matches!(coro.state, State::Suspended | State::Fresh) {
                if coro.waiting != 0 && super::serial::in_use(vm) {
                    super::serial::forget_call(vm, coro.waiting);
                }
                ending::close(L, vm, index);
                closed += 1;
            }
            index += 1;
        }
        (*s).forks.clear();
        // What the running coroutine waits for stays, but nothing else.
        (*s).init = NONE;
    }
}

unsafe fn refuse_responses(vm: *mut Vm) {
    // SAFETY: as `leave`; no Lua runs but in `own_name`, which raises nothing.
    unsafe {
        let s = sched(vm);
        let Some(cold) = &mut (*s).cold else {
            return;
        };
        let mut open: Vec<_> = cold.responses.drain().collect();
        open.sort_unstable_by_key(|(number, _)| *number);
        for (_, response) in open {
            reply_error(
                vm,
                response.source,
                response.session,
                b"the service has exited",
            );
        }
    }
}

/// Tells every service that was asked something and did not answer yet.
unsafe fn tell_watched(vm: *mut Vm) {
    // SAFETY: as `leave`; no Lua runs.
    unsafe {
        let s = sched(vm);
        let mut handles: Vec<Handle> = (*s)
            .pending
            .iter()
            .filter(|(_, waiter)| waiter.watching == Watch::Number)
            .map(|(_, waiter)| waiter.watch)
            .collect();
        handles.sort_unstable();
        handles.dedup();
        for handle in handles {
            let _ = context(vm).send(handle, ptype::ERROR, 0, Payload::null());
        }
        if let Some(cold) = &(*s).cold {
            let mut names: Vec<&[u8]> = cold.names.values().map(|name| &**name).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let own = context(vm).handle();
                let _ = context(vm).send_name(name, own, ptype::ERROR, 0, Payload::null());
            }
        }
    }
}
