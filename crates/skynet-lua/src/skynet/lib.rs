//! The table of module `skynet`.
//!
//! All of it that is no object of a VM is in a hash part that the VMs of the
//! node share (see `templates`), so its fields cost a service nothing until it
//! changes one. The two fields that are tables are found by a metamethod, which
//! keeps it so; `pairs` puts them into the table first, so it shows all.

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
    // Rarely used
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
    fn table_field(L, vm) {
        match string_at(L, 2) {
            Some(b"_proto") => push_ref(L, (*sched(vm)).refs.proto),
            Some(b"cache") => lazy::push_loaded(L, c"skynet.codecache"),
            _ => return 0,
        }
        1
    }

    /// `__pairs`: puts all fields into the table; from then on it is a plain one.
    fn all_pairs(L, vm) {
        lua_settop(L, 1);
        lua_pushnil(L);
        lua_setmetatable(L, 1);
        if lua_getfield(L, 1, c"_proto".as_ptr()) == LUA_TNIL {
            push_ref(L, (*sched(vm)).refs.proto);
            lua_setfield(L, 1, c"_proto".as_ptr());
        }
        if lua_getfield(L, 1, c"cache".as_ptr()) == LUA_TNIL {
            lazy::push_loaded(L, c"skynet.codecache");
            lua_setfield(L, 1, c"cache".as_ptr());
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
        let templates = (*(*vm).host_ptr()).templates();
        if !instantiate(L, templates.map(|t| t.protocols)) {
            proto::push_protocols(L);
        }
        (*s).refs.proto = luaL_ref(L, LUA_REGISTRYINDEX);
        if !instantiate(L, templates.map(|t| t.skynet)) {
            push_module(L);
        }
        lua_pushvalue(L, -1);
        (*s).refs.module = luaL_ref(L, LUA_REGISTRYINDEX);
        1
    }
}

/// Pushes the copy of a template's table, if there is one that this VM may have.
unsafe fn instantiate(L: *mut lua_State, template: Option<*const SklTemplate>) -> bool {
    // SAFETY: called by `open` with a free slot; templates are of this VM's
    // space, which lives as long as the host.
    template.is_some_and(|t| !t.is_null() && unsafe { skl_instantiate(L, t) } != 0)
}

/// Pushes the table with all fields but for those that are tables. Slots: 4.
unsafe fn push_module(L: *mut lua_State) {
    // SAFETY: called by native functions with free slots.
    unsafe {
        new_library(L, FUNCTIONS, TYPES.len() as i32 + 1);
        for (name, value) in TYPES {
            lua_pushinteger(L, lua_Integer::from(*value));
            lua_setfield(L, -2, name.as_ptr());
        }
        lua_getglobal(L, c"pcall".as_ptr());
        lua_setfield(L, -2, c"pcall".as_ptr());
        lua_createtable(L, 0, 2);
        lua_pushcfunction(L, table_field);
        lua_setfield(L, -2, c"__index".as_ptr());
        lua_pushcfunction(L, all_pairs);
        lua_setfield(L, -2, c"__pairs".as_ptr());
        lua_setmetatable(L, -2);
    }
}

/// Leaves the tables of which templates are taken: protocols, module.
pub(super) unsafe extern "C-unwind" fn push_patterns(L: *mut lua_State) -> std::ffi::c_int {
    // SAFETY: called by Lua in a VM whose libraries are open.
    unsafe {
        proto::push_protocols(L);
        push_module(L);
    }
    2
}
