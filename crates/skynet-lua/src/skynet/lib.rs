//! The table of module `skynet`.
//!
//! It has 81 fields, of which a service uses few. A table of more than 64
//! takes 1.5 KiB more in every service, so the rarely used ones are found by a
//! metamethod. `pairs` puts them into the table first, so it shows all.

use std::ffi::CStr;

use skynet_core::ptype;

pub(super) use super::death::error_dispatch;
pub(super) use super::lazy::debug_dispatch;
pub(super) use super::route::dispatch_message;
use super::tools::*;
use super::{
    answer, call, death, handlers, info, lazy, noyield, proto, send, serial, start, time, trace,
};
use crate::ffi::*;
pub(super) use crate::lib_core::{pack, unpack};
use crate::{lib_core, lib_trace};

const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[
    // Identity
    (c"self", info::own_handle),
    (c"address", info::address),
    (c"localname", info::localname),
    // Messages
    (c"send", send::send),
    (c"rawsend", send::rawsend),
    (c"redirect", send::redirect),
    (c"call", call::call),
    (c"rawcall", call::rawcall),
    (c"ret", answer::ret),
    (c"retpack", answer::retpack),
    (c"response", answer::response),
    (c"ignoreret", answer::ignoreret),
    (c"context", answer::request_context),
    (c"request", lazy::request),
    (c"pack", lib_core::pack),
    (c"unpack", lib_core::unpack),
    (c"tostring", lib_core::tostring),
    (c"trash", lib_core::trash),
    // Protocols
    (c"register_protocol", proto::register_protocol),
    (c"dispatch", proto::dispatch),
    // Coroutines and time
    (c"fork", time::fork),
    (c"timeout", time::timeout),
    (c"sleep", time::sleep),
    (c"yield", time::yield_now),
    (c"wait", time::wait),
    (c"wakeup", time::wakeup),
    (c"now", lib_core::now),
    (c"hpc", lib_core::hpc),
    (c"time", info::time),
    // Services
    (c"newservice", call::newservice),
    (c"uniqueservice", lazy::uniqueservice),
    (c"queryservice", lazy::queryservice),
    (c"start", start::start),
    (c"init", start::init),
    (c"exit", death::exit),
    (c"getenv", info::getenv),
    (c"memlimit", info::memlimit),
    // Looking inside
    (c"error", lib_core::error),
    (c"task", lazy::task),
    (c"mqlen", info::mqlen),
];

/// The rarely used functions.
const RARE: &[(&CStr, lua_CFunction)] = &[
    (c"harbor", lib_core::harbor),
    (c"genid", info::genid),
    (c"tracecall", call::tracecall),
    (c"call_timeout", call::call_timeout),
    (c"traceproto", proto::traceproto),
    (
        c"dispatch_unknown_request",
        handlers::dispatch_unknown_request,
    ),
    (
        c"dispatch_unknown_response",
        handlers::dispatch_unknown_response,
    ),
    (c"dispatch_message", dispatch_message),
    (c"serial", serial::serial),
    (c"timer", time::timer),
    (c"noyield", noyield::noyield),
    (c"killthread", death::killthread),
    (c"term", death::term),
    (c"starttime", info::starttime),
    (c"init_service", start::init_service),
    (c"setenv", info::setenv),
    (c"uniqtask", lazy::uniqtask),
    (c"stat", info::stat),
    (c"endless", info::endless),
    (c"info_func", handlers::info_func),
    (c"trace", trace::trace),
    (c"tracetag", trace::tracetag),
    (c"tracelog", lib_trace::trace),
    (c"trace_timeout", trace::trace_timeout),
    (c"packstring", lib_core::packstring),
];

const TYPES: &[(&CStr, u8)] = &[
    (c"PTYPE_TEXT", ptype::TEXT),
    (c"PTYPE_RESPONSE", ptype::RESPONSE),
    (c"PTYPE_MULTICAST", ptype::MULTICAST),
    (c"PTYPE_CLIENT", ptype::CLIENT),
    (c"PTYPE_SYSTEM", ptype::SYSTEM),
    (c"PTYPE_HARBOR", ptype::HARBOR),
    (c"PTYPE_SOCKET", ptype::SOCKET),
    (c"PTYPE_ERROR", ptype::ERROR),
    (c"PTYPE_QUEUE", ptype::QUEUE),
    (c"PTYPE_DEBUG", ptype::DEBUG),
    (c"PTYPE_LUA", ptype::LUA),
    (c"PTYPE_SNAX", ptype::SNAX),
    (c"PTYPE_TRACE", ptype::TRACE),
];

lua_functions! {
    /// `__index`: a field that is not in the table.
    fn rare_field(L, vm) {
        let Some(name) = string_at(L, 2) else {
            return 0;
        };
        if let Some((_, function)) = RARE.iter().find(|(rare, _)| rare.to_bytes() == name) {
            lua_pushcfunction(L, *function);
            return 1;
        }
        if let Some((_, value)) = TYPES.iter().find(|(known, _)| known.to_bytes() == name) {
            lua_pushinteger(L, lua_Integer::from(*value));
            return 1;
        }
        0
    }

    /// `__pairs`: puts all fields into the table; from then on it is a plain one.
    fn all_pairs(L, vm) {
        lua_settop(L, 1);
        lua_pushnil(L);
        lua_setmetatable(L, 1);
        for (name, function) in RARE {
            if lua_getfield(L, 1, name.as_ptr()) == LUA_TNIL {
                lua_pushcfunction(L, *function);
                lua_setfield(L, 1, name.as_ptr());
            }
            lua_settop(L, 1);
        }
        for (name, value) in TYPES {
            if lua_getfield(L, 1, name.as_ptr()) == LUA_TNIL {
                lua_pushinteger(L, lua_Integer::from(*value));
                lua_setfield(L, 1, name.as_ptr());
            }
            lua_settop(L, 1);
        }
        lua_getglobal(L, c"next".as_ptr());
        lua_pushvalue(L, 1);
        lua_pushnil(L);
        3
    }

    /// Opens module `skynet`, once for a VM.
    pub(super) fn open(L, vm) {
        let s = sched(vm);
        if (*s).refs.module != 0 {
            push_ref(L, (*s).refs.module);
            return 1;
        }
        lua_createtable(L, 0, 0);
        (*s).refs.anchors = luaL_ref(L, LUA_REGISTRYINDEX);
        lua_pushstring(L, c"SERVICE_NAME".as_ptr());
        (*s).refs.name_key = luaL_ref(L, LUA_REGISTRYINDEX);
        new_library(L, FUNCTIONS, 3);
        lua_createtable(L, 0, 2);
        lua_pushcfunction(L, rare_field);
        lua_setfield(L, -2, c"__index".as_ptr());
        lua_pushcfunction(L, all_pairs);
        lua_setfield(L, -2, c"__pairs".as_ptr());
        lua_setmetatable(L, -2);
        proto::push_protocols(L);
        lua_pushvalue(L, -1);
        (*s).refs.proto = luaL_ref(L, LUA_REGISTRYINDEX);
        lua_setfield(L, -2, c"_proto".as_ptr());
        lua_getglobal(L, c"pcall".as_ptr());
        lua_setfield(L, -2, c"pcall".as_ptr());
        lazy::push_loaded(L, c"skynet.codecache");
        lua_setfield(L, -2, c"cache".as_ptr());
        lua_pushvalue(L, -1);
        (*s).refs.module = luaL_ref(L, LUA_REGISTRYINDEX);
        1
    }
}
