//! Protocols: `register_protocol`, `dispatch`, `traceproto`.

use super::lib;
use super::tools::*;
use crate::ffi::*;

lua_functions! {
    /// `skynet.register_protocol(class)`
    pub(super) fn register_protocol(L, vm) {
        lua_settop(L, 1);
        luaL_checktype(L, 1, LUA_TTABLE);
        push_ref(L, (*sched(vm)).refs.proto);
        // class, proto
        let name = lua_getfield(L, 1, c"name".as_ptr());
        let id = lua_getfield(L, 1, c"id".as_ptr());
        // class, proto, name, id
        if name != LUA_TSTRING || id != LUA_TNUMBER {
            assertion(L);
        }
        match integer_at(L, 4) {
            Some(0..=255) => {}
            _ => assertion(L),
        }
        for key in 3..=4 {
            lua_pushvalue(L, key);
            if lua_rawget(L, 2) != LUA_TNIL {
                assertion(L);
            }
            lua_settop(L, 4);
        }
        for key in 3..=4 {
            lua_pushvalue(L, key);
            lua_pushvalue(L, 1);
            lua_rawset(L, 2);
        }
        0
    }

    /// `skynet.dispatch(name [, f])`: the function before.
    pub(super) fn dispatch(L, vm) {
        lua_settop(L, 2);
        push_ref(L, (*sched(vm)).refs.proto);
        lua_pushvalue(L, 1);
        let known = lua_type(L, 1) != LUA_TNIL && lua_rawget(L, -2) == LUA_TTABLE;
        if !known {
            if lua_type(L, 2) != LUA_TNIL {
                fail(L, b"attempt to index a nil value (local 'p')");
            }
            lua_pushnil(L);
            return 1;
        }
        let class = lua_gettop(L);
        lua_getfield(L, class, c"dispatch".as_ptr());
        if lua_type(L, 2) != LUA_TNIL {
            lua_pushvalue(L, 2);
            lua_setfield(L, class, c"dispatch".as_ptr());
        }
        1
    }

    /// `skynet.traceproto(name, flag)`
    pub(super) fn traceproto(L, vm) {
        lua_settop(L, 2);
        push_ref(L, (*sched(vm)).refs.proto);
        lua_pushvalue(L, 1);
        if lua_type(L, 1) == LUA_TNIL || lua_rawget(L, -2) != LUA_TTABLE {
            assertion(L);
        }
        lua_pushvalue(L, 2);
        lua_setfield(L, -2, c"trace".as_ptr());
        0
    }

    /// The protocols without an `unpack` that changes anything.
    pub(super) fn identity(L, vm) {
        lua_gettop(L)
    }
}

/// Pushes `skynet._proto` with the framework's own protocols.
pub(super) unsafe fn push_protocols(L: *mut lua_State) {
    use skynet_core::ptype;
    // SAFETY: called when module `skynet` opens, with free slots.
    unsafe {
        lua_createtable(L, 0, 8);
        let own: [(&std::ffi::CStr, u8, bool, Option<lua_CFunction>); 4] = [
            (c"lua", ptype::LUA, true, None),
            (c"response", ptype::RESPONSE, false, None),
            (c"error", ptype::ERROR, false, Some(lib::error_dispatch)),
            (c"debug", ptype::DEBUG, true, Some(lib::debug_dispatch)),
        ];
        for (name, id, packs, dispatch) in own {
            lua_createtable(L, 0, 4);
            lua_pushstring(L, name.as_ptr());
            lua_setfield(L, -2, c"name".as_ptr());
            lua_pushinteger(L, lua_Integer::from(id));
            lua_setfield(L, -2, c"id".as_ptr());
            if packs {
                lua_pushcfunction(L, lib::pack);
                lua_setfield(L, -2, c"pack".as_ptr());
                lua_pushcfunction(L, lib::unpack);
                lua_setfield(L, -2, c"unpack".as_ptr());
            }
            if id == ptype::ERROR {
                lua_pushcfunction(L, identity);
                lua_setfield(L, -2, c"unpack".as_ptr());
            }
            if let Some(dispatch) = dispatch {
                lua_pushcfunction(L, dispatch);
                lua_setfield(L, -2, c"dispatch".as_ptr());
            }
            lua_pushvalue(L, -1);
            lua_setfield(L, -3, name.as_ptr());
            lua_rawseti(L, -2, lua_Integer::from(id));
        }
    }
}
