//! What the native functions of module `skynet` share: their frame, error
//! texts, addresses, payloads.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use skynet_core::{Context, Handle, Payload, SendError};

use super::state::Scheduler;
use crate::ffi::*;
use crate::seri;
use crate::vm::Vm;

/// Defines functions that Lua calls. `$L` is the calling thread, `$vm` its VM.
/// The bodies hold nothing with a destructor across a call that may raise.
macro_rules! lua_functions {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($L:ident, $vm:ident) $body:block)*) => {$(
        $(#[$meta])*
        #[allow(non_snake_case, unused_variables)]
        $vis unsafe extern "C-unwind" fn $name($L: *mut $crate::ffi::lua_State) -> std::ffi::c_int {
            // SAFETY: Lua calls this in the VM of a service (module `skynet`
            // opens in no other), with LUA_MINSTACK free slots; the body asks
            // for more where it needs them, and borrows fields of the Vm for
            // single statements only.
            unsafe {
                let $vm = $crate::vm::vm_of($L);
                $body
            }
        }
    )*};
}
pub(super) use lua_functions;

/// Defines continuations: as [`lua_functions`], with the status and context given to Lua.
macro_rules! continuations {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($L:ident, $vm:ident, $context:ident) $body:block)*) => {$(
        $(#[$meta])*
        #[allow(non_snake_case, unused_variables)]
        $vis unsafe extern "C-unwind" fn $name(
            $L: *mut $crate::ffi::lua_State,
            _status: std::ffi::c_int,
            $context: $crate::ffi::lua_KContext,
        ) -> std::ffi::c_int {
            // SAFETY: as in `lua_functions`; Lua calls it in the place of the
            // function that gave it to lua_yieldk or lua_callk.
            unsafe {
                let $vm = $crate::vm::vm_of($L);
                $body
            }
        }
    )*};
}
pub(super) use continuations;

/// The scheduler of a VM as a raw pointer; fields are borrowed for one statement.
#[inline]
pub(super) unsafe fn sched(vm: *mut Vm) -> *mut Scheduler {
    // SAFETY: only an address is computed, of a live Vm (the caller vouches).
    unsafe { &raw mut (*vm).sched }
}

/// The service of a VM.
#[inline]
pub(super) unsafe fn context<'a>(vm: *mut Vm) -> &'a Context {
    // SAFETY: the context outlives the live Vm.
    unsafe { &*(*vm).context }
}

/// Pushes `file:line: ` of the nearest Lua function that called. Slots: 1. May raise (memory).
///
/// `luaL_where(L, 1)` is not enough: user code strips one position, also from
/// the errors of `pcall(skynet.call, ...)`, whose caller is a C function.
pub(super) unsafe fn push_where(L: *mut lua_State) {
    // SAFETY: lua_Debug is plain data that lua_getinfo fills in; the caller
    // vouches for L and a free slot.
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        let mut level = 1;
        while lua_getstack(L, level, &mut ar) != 0 {
            lua_getinfo(L, c"Sl".as_ptr(), &mut ar);
            if ar.currentline > 0 {
                lua_pushfstring(
                    L,
                    c"%s:%d: ".as_ptr(),
                    ar.short_src.as_ptr(),
                    ar.currentline,
                );
                return;
            }
            level += 1;
        }
        lua_pushstring(L, c"skynet:0: ".as_ptr());
    }
}

/// Raises an error with one position prefix.
#[cold]
pub(super) unsafe fn fail(L: *mut lua_State, text: &[u8]) -> ! {
    // SAFETY: the caller is a native function with nothing to drop; `text`
    // belongs to something that outlives its frames.
    unsafe {
        push_where(L);
        push_bytes(L, text);
        lua_concat(L, 2);
        lua_error(L)
    }
}

/// As [`fail`], with the string on the top of the stack as text.
#[cold]
pub(super) unsafe fn fail_top(L: *mut lua_State) -> ! {
    // SAFETY: as `fail`.
    unsafe {
        push_where(L);
        lua_insert(L, -2);
        lua_concat(L, 2);
        lua_error(L)
    }
}

/// `assertion failed!`, as upstream's `assert`.
#[cold]
pub(super) unsafe fn assertion(L: *mut lua_State) -> ! {
    // SAFETY: as `fail`.
    unsafe { fail(L, b"assertion failed!") }
}

/// Whether the value at `index` is this native function of ours. (Such
/// functions are neither generic nor inlined, so each has one address.)
#[inline]
pub(super) unsafe fn is_native(L: *mut lua_State, index: c_int, function: lua_CFunction) -> bool {
    // SAFETY: the caller vouches for L.
    unsafe {
        match lua_tocfunction(L, index) {
            Some(found) => std::ptr::fn_addr_eq(found, function),
            None => false,
        }
    }
}

/// Pushes the table at a place of the registry.
#[inline]
pub(super) unsafe fn push_ref(L: *mut lua_State, place: c_int) {
    // SAFETY: the caller vouches for L and a slot.
    unsafe { lua_rawgeti(L, LUA_REGISTRYINDEX, place as lua_Integer) };
}

/// The table at a place of the registry, made when it is needed the first
/// time. Slots: 1, 2 for a moment. May raise (memory).
pub(super) unsafe fn push_table(L: *mut lua_State, place: *mut c_int, weak: bool) {
    // SAFETY: `place` is a field of the scheduler's `Refs`; the caller vouches for L.
    unsafe {
        if *place != 0 {
            push_ref(L, *place);
            return;
        }
        lua_createtable(L, 0, 0);
        if weak {
            lua_createtable(L, 0, 1);
            lua_pushstring(L, c"k".as_ptr());
            lua_setfield(L, -2, c"__mode".as_ptr());
            lua_setmetatable(L, -2);
        }
        lua_pushvalue(L, -1);
        *place = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

/// Where a message goes.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    Handle(Handle),
    Name(&'a [u8]),
}

/// Reads the address at `index` (spec/01-core.md §15.1). Raises for impossible ones.
#[inline]
pub(super) unsafe fn target<'a>(L: *mut lua_State, index: c_int) -> Target<'a> {
    // SAFETY: the caller vouches for L; a string stays at `index` as long as
    // the result is used.
    unsafe {
        let mut is = 0;
        let handle = lua_tointegerx(L, index, &mut is);
        if is != 0 && (handle != 0 || lua_type(L, index) == LUA_TNUMBER) {
            if handle as u32 == 0 {
                fail(L, b"Invalid service address 0");
            }
            return Target::Handle(handle as u32);
        }
        if let Some(name) = string_at(L, index) {
            return Target::Name(name);
        }
        if lua_type(L, index) == LUA_TNUMBER {
            fail(L, b"Invalid service address 0");
        }
        lua_pushfstring(
            L,
            c"dest address type (%s) must be a string or number.".as_ptr(),
            luaL_typename(L, index),
        );
        fail_top(L)
    }
}

/// What became of a message, as Lua sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    Dead,
    TooLarge,
}

impl From<Result<(), SendError>> for Sent {
    fn from(result: Result<(), SendError>) -> Self {
        match result {
            Ok(()) => Self::Yes,
            Err(SendError::TooLarge) => Self::TooLarge,
            Err(_) => Self::Dead,
        }
    }
}

/// Sends, from the service or (`source` not 0) in the name of another.
#[inline]
pub(super) fn send_to(
    context: &Context,
    target: Target<'_>,
    source: Handle,
    kind: u8,
    session: i32,
    payload: Payload,
) -> Sent {
    match target {
        Target::Handle(handle) => {
            let source = if source == 0 {
                context.handle()
            } else {
                source
            };
            context.redirect(handle, source, kind, session, payload)
        }
        Target::Name(name) => context.send_name(name, source, kind, session, payload),
    }
    .into()
}

/// The message at `index` (string, or pointer with its size behind it). A
/// pointer's block becomes the payload's, but for that of the message being
/// dispatched, which is freed later and therefore copied.
/// Raises `invalid param <type>`. Nothing may raise while the result lives.
pub(super) unsafe fn payload_at(L: *mut lua_State, vm: *mut Vm, index: c_int) -> Payload {
    // SAFETY: the caller vouches for L; a light userdata is a malloc block of
    // the given size by the contract of these functions (spec/01-core.md §15.1).
    unsafe {
        match lua_type(L, index) {
            LUA_TSTRING => {
                let bytes = string_at(L, index).unwrap_or_default();
                if bytes.is_empty() {
                    return Payload::null();
                }
                Payload::from_slice(bytes)
            }
            LUA_TLIGHTUSERDATA => {
                let size = luaL_checkinteger(L, index + 1) as u32 as usize;
                let pointer = lua_touserdata(L, index);
                own(vm, pointer, size)
            }
            _ => {
                lua_pushfstring(L, c"invalid param %s".as_ptr(), luaL_typename(L, index));
                fail_top(L)
            }
        }
    }
}

unsafe fn own(vm: *mut Vm, pointer: *mut c_void, size: usize) -> Payload {
    // SAFETY: the caller's contract; `current` is a copy.
    unsafe {
        let current = (*sched(vm)).current;
        if !pointer.is_null()
            && current.pointer == pointer.cast_const().cast()
            && current.len >= size
        {
            return Payload::from_slice(std::slice::from_raw_parts(current.pointer, size));
        }
        Payload::from_malloc(pointer, size)
    }
}

/// Packs the values `first..=last` with the native packer. Raises its errors.
/// The bytes are at the end of `vm.scratch`, from the returned position on.
#[inline]
pub(super) unsafe fn pack(L: *mut lua_State, vm: *mut Vm, first: c_int, last: c_int) -> usize {
    // SAFETY: `scratch` is borrowed only inside the packer, for single calls.
    unsafe {
        let out = &raw mut (*vm).scratch;
        let start = (*out).len();
        if let Err(error) = seri::pack_from_stack(L, first, last, out) {
            (*out).truncate(start);
            error.raise(L);
        }
        start
    }
}

/// The packed bytes from `start` on as a payload; the scratch area is as before.
#[inline]
pub(super) unsafe fn take_packed(vm: *mut Vm, start: usize) -> Payload {
    // SAFETY: nobody holds a reference to `scratch`.
    unsafe {
        let scratch = &mut (*vm).scratch;
        let payload = Payload::from_slice(&scratch[start..]);
        scratch.truncate(start);
        payload
    }
}

/// Pushes the values in `bytes`. Raises for malformed ones.
#[inline]
pub(super) unsafe fn unpack(L: *mut lua_State, bytes: &[u8]) -> c_int {
    // SAFETY: the caller's contract is that of `unpack_to_stack`.
    unsafe {
        match seri::unpack_to_stack(L, bytes) {
            Ok(count) => count,
            Err(error) => error.raise(L),
        }
    }
}

/// The bytes of the message being dispatched. They stay in place until its
/// dispatch ends.
#[inline]
pub(super) unsafe fn current_bytes<'a>(vm: *mut Vm) -> &'a [u8] {
    // SAFETY: `current` describes the message that `dispatch` holds on its
    // frame (or that the caller of `dispatch_message` vouches for).
    unsafe {
        let current = (*sched(vm)).current;
        if current.pointer.is_null() {
            return &[];
        }
        std::slice::from_raw_parts(current.pointer, current.len)
    }
}

/// Pushes pointer and size of the message being dispatched. Slots: 2.
pub(super) unsafe fn push_current(L: *mut lua_State, vm: *mut Vm) {
    // SAFETY: the caller vouches for L and two slots.
    unsafe {
        let current = (*sched(vm)).current;
        // Upstream has NULL where there is no data.
        let pointer = if current.len == 0 {
            null_mut()
        } else {
            current.pointer.cast_mut()
        };
        lua_pushlightuserdata(L, pointer.cast());
        lua_pushinteger(L, current.len as lua_Integer);
    }
}

/// `:%08x name` of the service, for the causes of errors.
pub(super) unsafe fn own_name(vm: *mut Vm) -> String {
    // SAFETY: raw reads of the globals table on the main thread, which raise
    // nothing; the name stays in the globals.
    unsafe {
        let L = (*vm).main;
        let mut name: Option<&[u8]> = None;
        if lua_checkstack(L, 2) != 0 {
            lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
            push_ref(L, (*sched(vm)).refs.name_key);
            lua_rawget(L, -2);
            name = string_at(L, -1);
            lua_settop(L, -3);
        }
        let mut text = format!(":{:08x}", context(vm).handle());
        if let Some(name) = name {
            text.push(' ');
            text.push_str(&String::from_utf8_lossy(name));
        }
        text
    }
}

/// The part of an error text that is worth sending to the caller: the lines
/// before a traceback, not too much of them.
pub(super) fn essence(text: &[u8]) -> &[u8] {
    const MOST: usize = 1024;
    let end = text
        .windows(17)
        .position(|window| window == b"\nstack traceback:")
        .unwrap_or(text.len());
    let text = &text[..end.min(MOST)];
    text.trim_ascii_end()
}

/// Sends an ERROR reply whose text says which service failed and why.
pub(super) unsafe fn reply_error(vm: *mut Vm, source: Handle, session: i32, why: &[u8]) {
    if source == 0 || session == 0 {
        return;
    }
    // SAFETY: the caller vouches for `vm`; nothing here calls into Lua but `own_name`.
    unsafe {
        let mut cause = own_name(vm).into_bytes();
        if !why.is_empty() {
            cause.extend_from_slice(b": ");
            cause.extend_from_slice(essence(why));
        }
        context(vm).reply_error(source, session, &cause);
    }
}
