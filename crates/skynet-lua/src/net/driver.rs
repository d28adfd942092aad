//! `skynet.socketdriver` (spec/03-network.md §2): the sockets of skynet-net for Lua.
//!
//! A function reads its arguments, lets the net layer work inside [`guarded`],
//! and pushes or raises after it.

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use skynet_core::Handle;
use skynet_net::{Net, NetError, SocketInfo, SocketKind, kind};

use super::address::{self, AddressError, UdpAddress};
use super::owned::{self, Class};
use super::record::Record;
use super::{buffer, send};
use crate::ffi::*;
use crate::vm::{context_of, node_of, try_vm_of, vm_of};

/// Connections a listener lets wait if the caller does not say.
const BACKLOG: lua_Integer = 32;

/// Runs code that must not unwind into Lua. `None`: it panicked (a fault of ours, which the
/// panic hook has reported).
pub(super) fn guarded<R>(f: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}

/// The net layer of the service's node. `luaopen` has checked that there is one.
#[inline]
pub(super) unsafe fn net_of<'a>(L: *mut lua_State) -> &'a Net {
    // SAFETY: the functions of this module are only reachable where `luaopen`
    // found the service and the net layer.
    unsafe {
        node_of(L)
            .extension::<Net>()
            .expect("luaopen checked that the node has sockets")
    }
}

unsafe fn owner_of(L: *mut lua_State) -> Handle {
    // SAFETY: as `net_of`.
    unsafe { context_of(L).handle() }
}

/// A socket id argument; a number that cannot be one is as good as a stale id.
pub(super) unsafe fn id_at(L: *mut lua_State, idx: c_int) -> i32 {
    // SAFETY: Lua called our caller.
    let id = unsafe { luaL_checkinteger(L, idx) };
    i32::try_from(id).unwrap_or(-1)
}

/// The bytes of a string argument, which stays on the stack.
unsafe fn bytes_at<'a>(L: *mut lua_State, idx: c_int) -> &'a [u8] {
    // SAFETY: Lua called our caller.
    unsafe {
        let mut length = 0;
        let text = luaL_checklstring(L, idx, &mut length);
        std::slice::from_raw_parts(text.cast::<u8>(), length)
    }
}

/// The host and port in the arguments `idx` and `idx + 1`: an address and a
/// port, or one text with both. Raises what upstream raises.
unsafe fn address_at<'a>(L: *mut lua_State, idx: c_int) -> (&'a [u8], lua_Integer) {
    // SAFETY: Lua called our caller; nothing here has a destructor.
    unsafe {
        let text = bytes_at(L, idx);
        if lua_type(L, idx + 1) > LUA_TNIL {
            return (text, luaL_checkinteger(L, idx + 1));
        }
        let shown = lua_tolstring(L, idx, std::ptr::null_mut());
        match address::split(text) {
            Ok((host, port)) => return (host, lua_Integer::from(port)),
            Err(AddressError::Address) => {
                luaL_error(L, c"Invalid address %s.".as_ptr(), shown);
            }
            Err(AddressError::Port) => {
                luaL_error(L, c"Invalid port in address %s.".as_ptr(), shown);
            }
        }
        unreachable!("luaL_error does not return")
    }
}

fn port_number(port: lua_Integer) -> i32 {
    i32::try_from(port).unwrap_or(-1)
}

unsafe extern "C-unwind" fn connect(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        let (host, port) = address_at(L, 1);
        if port == 0 {
            return luaL_error(L, c"Invalid port".as_ptr());
        }
        let (net, owner) = (net_of(L), owner_of(L));
        let id = guarded(|| net.connect(owner, host, port_number(port)));
        lua_pushinteger(L, lua_Integer::from(id.and_then(Result::ok).unwrap_or(-1)));
    }
    1
}

unsafe extern "C-unwind" fn listen(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the reason is copied into the Vm before it is raised.
    unsafe {
        let (host, port) = if lua_type(L, 1) == LUA_TNIL {
            (&b""[..], luaL_checkinteger(L, 2))
        } else {
            address_at(L, 1)
        };
        let backlog = luaL_optinteger(L, 3, BACKLOG);
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        let (net, owner, vm) = (net_of(L), owner_of(L), vm_of(L));
        let listened = guarded(|| {
            let result = net.listen(owner, host, port_number(port), backlog);
            match result {
                Ok(id) => Some(id),
                Err(error) => {
                    describe_listen(&mut (*vm).text, &error);
                    None
                }
            }
        });
        match listened {
            Some(Some(id)) => lua_pushinteger(L, lua_Integer::from(id)),
            Some(None) => raise(L, &(*vm).text),
            None => raise(L, b"Listen error"),
        }
    }
    1
}

/// Upstream's text, and the reason in a line of its own.
fn describe_listen(text: &mut Vec<u8>, error: &NetError) {
    text.clear();
    text.extend_from_slice(b"Listen error");
    text.extend_from_slice(format!("\n{error}").as_bytes());
}

unsafe extern "C-unwind" fn bind(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        let fd = luaL_checkinteger(L, 1);
        let fd = i32::try_from(fd).unwrap_or(-1);
        let (net, owner) = (net_of(L), owner_of(L));
        let id = guarded(|| net.bind(owner, fd));
        lua_pushinteger(L, lua_Integer::from(id.and_then(Result::ok).unwrap_or(-1)));
    }
    1
}

unsafe extern "C-unwind" fn start(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        let (id, net, owner) = (id_at(L, 1), net_of(L), owner_of(L));
        guarded(|| net.start(owner, id));
    }
    0
}

unsafe extern "C-unwind" fn pause(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        let (id, net) = (id_at(L, 1), net_of(L));
        guarded(|| net.pause(id));
    }
    0
}

unsafe extern "C-unwind" fn close(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        let (id, net) = (id_at(L, 1), net_of(L));
        guarded(|| net.close(id));
    }
    0
}

unsafe extern "C-unwind" fn shutdown(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        let (id, net) = (id_at(L, 1), net_of(L));
        guarded(|| net.shutdown(id));
    }
    0
}

unsafe extern "C-unwind" fn nodelay(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        let (id, net) = (id_at(L, 1), net_of(L));
        guarded(|| net.nodelay(id));
    }
    0
}

/// `resolve(host)`: an array of addresses.
unsafe extern "C-unwind" fn resolve(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us. The result goes to the Vm's scratch area, from
    // which it is pushed with one borrow a statement.
    unsafe {
        let host = bytes_at(L, 1);
        let (net, vm) = (net_of(L), vm_of(L));
        let found = guarded(|| {
            let text = &mut (*vm).text;
            text.clear();
            match net.resolve(host) {
                Ok(addresses) => {
                    for address in &addresses {
                        text.extend_from_slice(address.as_bytes());
                        text.push(b'\n');
                    }
                    true
                }
                Err(reason) => {
                    text.extend_from_slice(reason.as_bytes());
                    false
                }
            }
        });
        if found != Some(true) {
            raise(L, &(*vm).text);
        }
        lua_createtable(L, 1, 0);
        let (mut at, mut index) = (0, 1);
        while let Some(length) = (&(*vm).text)[at..].iter().position(|&byte| byte == b'\n') {
            push_bytes(L, &(&(*vm).text)[at..at + length]);
            lua_rawseti(L, -2, index);
            at += length + 1;
            index += 1;
        }
    }
    1
}

static INFO_MARK: u8 = 0;

/// Statistics on their way to Lua.
#[derive(Default)]
struct InfoList(Vec<SocketInfo>);

impl Class for InfoList {
    fn mark() -> &'static u8 {
        &INFO_MARK
    }
}

/// `info()`: an array of tables.
unsafe extern "C-unwind" fn info(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the list belongs to a userdata on the stack, which
    // nothing else can reach, so it stays as it is while its parts are pushed.
    unsafe {
        let list = owned::push::<InfoList>(L);
        let net = net_of(L);
        (*list).0 = guarded(|| net.info()).unwrap_or_default();
        let infos = &(*list).0;
        lua_createtable(L, c_int::try_from(infos.len()).unwrap_or(0), 0);
        for (index, info) in (1..).zip(infos) {
            push_info(L, info);
            lua_rawseti(L, -2, index);
        }
    }
    1
}

unsafe fn push_info(L: *mut lua_State, info: &SocketInfo) {
    // SAFETY: `info` calls us with free slots; `info`'s texts are not moved.
    unsafe {
        let integer = |name: &CStr, value: u64| {
            lua_pushinteger(L, value as lua_Integer);
            lua_setfield(L, -2, name.as_ptr());
        };
        let text = |name: &CStr, value: &[u8]| {
            push_bytes(L, value);
            lua_setfield(L, -2, name.as_ptr());
        };
        lua_createtable(L, 0, 11);
        integer(c"id", info.id as u64);
        integer(c"address", u64::from(info.owner));
        if info.kind == SocketKind::Listen {
            text(c"type", b"LISTEN");
            integer(c"accept", info.read);
            integer(c"rtime", info.read_time);
            text(c"sock", info.name.as_bytes());
            return;
        }
        let name: &[u8] = match info.kind {
            SocketKind::Tcp => b"TCP",
            SocketKind::Bind => b"BIND",
            SocketKind::Closing => b"CLOSING",
            _ => b"UNKNOWN",
        };
        text(c"type", name);
        if name == b"UNKNOWN" {
            return;
        }
        integer(c"read", info.read);
        integer(c"write", info.write);
        integer(c"wbuffer", info.write_buffer);
        integer(c"rtime", info.read_time);
        integer(c"wtime", info.write_time);
        for (name, value) in [(c"reading", info.reading), (c"writing", info.writing)] {
            lua_pushboolean(L, c_int::from(value));
            lua_setfield(L, -2, name.as_ptr());
        }
        if !info.name.is_empty() {
            text(c"peer", info.name.as_bytes());
        }
    }
}

/// `unpack(msg, sz)`: kind, id, ud, and the data block (which becomes the caller's) or the text.
unsafe extern "C-unwind" fn unpack(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; what can raise comes before the block leaves the record.
    unsafe {
        let record = Record::at(L, 1);
        let (what, ud) = (record.kind(), record.ud());
        lua_pushinteger(L, lua_Integer::from(what));
        lua_pushinteger(L, lua_Integer::from(record.id()));
        lua_pushinteger(L, lua_Integer::from(ud));
        if what != kind::DATA && what != kind::UDP {
            push_bytes(L, record.text());
            return 4;
        }
        let block = record.take_buffer();
        if block.is_null() {
            push_bytes(L, record.text());
            return 4;
        }
        lua_pushlightuserdata(L, block.cast::<c_void>());
    }
    4
}

/// `udp_address(blob)`: the address and port of a UDP address.
unsafe extern "C-unwind" fn udp_address(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the text lies in an array on our frame.
    unsafe {
        let mut text = [0_u8; 64];
        let mut rest = &mut text[..];
        let port = match address::udp(bytes_at(L, 1)) {
            Some(UdpAddress::V4(ip, port)) => {
                let _ = std::io::Write::write_fmt(&mut rest, format_args!("{ip}"));
                port
            }
            Some(UdpAddress::V6(ip, port)) => {
                let _ = std::io::Write::write_fmt(&mut rest, format_args!("{ip}"));
                port
            }
            None => return luaL_error(L, c"Invalid udp address".as_ptr()),
        };
        let used = 64 - rest.len();
        push_bytes(L, &text[..used]);
        lua_pushinteger(L, lua_Integer::from(port));
    }
    2
}

/// UDP comes with a later version; until then a caller must not believe that it works.
unsafe extern "C-unwind" fn no_udp(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe { raise(L, b"UDP sockets are not supported by this version") }
}

const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[
    (c"connect", connect),
    (c"listen", listen),
    (c"bind", bind),
    (c"start", start),
    (c"pause", pause),
    (c"close", close),
    (c"shutdown", shutdown),
    (c"nodelay", nodelay),
    (c"send", send::send),
    (c"lsend", send::lsend),
    (c"resolve", resolve),
    (c"info", info),
    (c"unpack", unpack),
    (c"udp_address", udp_address),
    (c"udp", no_udp),
    (c"udp_connect", no_udp),
    (c"udp_dial", no_udp),
    (c"udp_listen", no_udp),
    (c"udp_send", no_udp),
];

/// Opens the module; raises outside of a service or where the node has no sockets.
///
/// # Safety
/// A `luaopen` function: Lua calls it.
pub(crate) unsafe extern "C-unwind" fn luaopen(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        if try_vm_of(L).is_null() {
            return luaL_error(L, c"Init skynet context first".as_ptr());
        }
        if node_of(L).extension::<Net>().is_none() {
            return luaL_error(L, c"this node has no sockets".as_ptr());
        }
        new_library(L, FUNCTIONS, buffer::FUNCTIONS.len() as c_int);
        for (name, function) in buffer::FUNCTIONS {
            lua_pushcfunction(L, *function);
            lua_setfield(L, -2, name.as_ptr());
        }
    }
    1
}
