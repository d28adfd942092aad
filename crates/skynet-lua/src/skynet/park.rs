//! Coroutines that yielded outside of the framework, without a value: user
//! code that parks itself, and the debugger's line hook. Nobody but the
//! debugger wakes them, so only a weak table remembers what they serve.

use super::coro;
use super::state::{Coro, flag};
use super::tools::*;
use crate::ffi::*;
use crate::vm::Vm;

/// Gives a coroutine out of our hands, but remembers its request.
#[cold]
pub(super) unsafe fn park(L: *mut lua_State, vm: *mut Vm, index: u32) {
    // SAFETY: the caller vouches for L (five free slots), vm and the index.
    unsafe {
        let s = sched(vm);
        let Coro {
            thread,
            session,
            source,
            flags,
            ..
        } = (&(*s).coros)[index as usize];
        push_table(L, &raw mut (*s).refs.parked, true);
        lua_pushthread(thread);
        lua_xmove(thread, L, 1);
        // session, source and flags in one float-free integer pair
        lua_createtable(L, 3, 0);
        for (at, value) in [i64::from(session), i64::from(source), i64::from(flags)]
            .into_iter()
            .enumerate()
        {
            lua_pushinteger(L, value);
            lua_rawseti(L, -2, at as lua_Integer + 1);
        }
        lua_rawset(L, -3);
        lua_settop(L, -2);
        coro::drop_coro(L, vm, index);
    }
}

lua_functions! {
    /// For `skynet.remotedebug`: continues a coroutine that yielded no value,
    /// with what happens then as for any coroutine.
    pub(super) fn unpark(L, vm) {
        luaL_checktype(L, 1, LUA_TTHREAD);
        lua_settop(L, 1);
        let thread = lua_tothread(L, 1);
        let s = sched(vm);
        if lua_status(thread) != LUA_YIELD || (*s).find(thread.cast_const().cast()).is_some() {
            fail(L, b"not a stopped coroutine");
        }
        push_table(L, &raw mut (*s).refs.parked, true);
        lua_pushvalue(L, 1);
        let known = lua_rawget(L, -2) == LUA_TTABLE;
        let mut values = [0i64; 3];
        if known {
            for (at, value) in values.iter_mut().enumerate() {
                lua_rawgeti(L, -1, at as lua_Integer + 1);
                *value = lua_tointegerx(L, -1, std::ptr::null_mut());
                lua_settop(L, -2);
            }
        }
        lua_settop(L, 2);
        lua_pushvalue(L, 1);
        lua_pushnil(L);
        lua_rawset(L, 2);
        lua_settop(L, 1);
        lua_pushvalue(L, 1);
        let index = coro::adopt(L, vm, thread);
        let place = &mut (&mut (*s).coros)[index as usize];
        place.session = values[0] as i32;
        place.source = values[1] as u32;
        place.flags = values[2] as u8 & (flag::REQUEST | flag::OWES);
        coro::run(L, vm, index, 0);
        0
    }
}
