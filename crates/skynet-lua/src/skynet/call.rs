//! Requests that wait for their answer: `call`, `rawcall`, `tracecall`,
//! `call_timeout`, `newservice`.

use std::ffi::c_int;

use skynet_core::ptype;

use super::coro::{check_yield, new_session, suspend, wait_for};
use super::send::{Packed, class_id, pack_with, push_class, take};
use super::sessions::{Kind, Waiter, Watch};
use super::state::{NONE, Wake, flag};
use super::tools::*;
use super::{lib, serial, trace};
use crate::ffi::*;
use crate::vm::Vm;

/// Low byte of a continuation's context: what to do with the answer. Above it is the session.
mod mode {
    /// Unpack it with the class at index 2.
    pub(super) const UNPACK: isize = 0;
    /// Give pointer and size.
    pub(super) const RAW: isize = 1;
    /// As `RAW`, and log the end with the tag at index 2.
    pub(super) const TRACE: isize = 2;
    /// As `UNPACK`; the session of the deadline's timer is at index 3.
    pub(super) const DEADLINE: isize = 3;
}

/// Sends a request and records who waits for it. Raises if the address is dead.
#[inline]
unsafe fn launch(
    L: *mut lua_State,
    vm: *mut Vm,
    address: c_int,
    id: u8,
    packed: Packed,
    raw: bool,
) -> i32 {
    // SAFETY: the caller vouches for L and vm; between taking the payload and
    // giving it away nothing raises.
    unsafe {
        let s = sched(vm);
        let given = target(L, address);
        let context = context(vm);
        // A local name is resolved once, before a session is used up.
        let to = match given {
            Target::Name([b'.', name @ ..]) => match context.node().find_name(name) {
                Some(handle) => Target::Handle(handle),
                None => dead(L, address, raw),
            },
            other => other,
        };
        let session = new_session(vm);
        let coro = (*s).running;
        if serial::in_use(vm) {
            serial::note_call(vm, session);
        }
        let payload = take(L, vm, packed);
        let sent = send_to(context, to, 0, id, session, payload);
        if sent != Sent::Yes {
            if serial::in_use(vm) {
                serial::forget_call(vm, session);
            }
            dead(L, address, raw);
        }
        if coro == NONE {
            // The yield to come raises: nobody will wait.
            return session;
        }
        let mut waiter = Waiter::new(Kind::Coro, coro);
        match given {
            Target::Handle(handle) => {
                waiter.watching = Watch::Number;
                waiter.watch = handle;
            }
            Target::Name(name) => {
                waiter.watching = Watch::Name;
                (*s).cold().names.insert(session, name.into());
            }
        }
        let _ = wait_for(vm, Kind::Coro, session);
        (*s).pending.insert(session, waiter);
        session
    }
}

/// Raises for an address that nobody has.
#[cold]
unsafe fn dead(L: *mut lua_State, address: c_int, raw: bool) -> ! {
    // SAFETY: as `launch`.
    unsafe {
        if raw {
            fail(L, b"call to invalid address");
        }
        lua_pushstring(L, c"call to invalid address ".as_ptr());
        push_address(L, address);
        lua_concat(L, 2);
        fail_top(L)
    }
}

/// Pushes the text of an address as `skynet.address` gives it. May call `__tostring`.
pub(super) unsafe fn push_address(L: *mut lua_State, index: c_int) {
    // SAFETY: the caller vouches for L; the text is on this frame for the push only.
    unsafe {
        if lua_type(L, index) == LUA_TNUMBER {
            let mut is = 0;
            let handle = lua_tointegerx(L, index, &mut is);
            if is == 0 {
                fail(
                    L,
                    b"bad argument #2 to 'format' (number has no integer representation)",
                );
            }
            let mut text = [0u8; 24];
            let len = hex(&mut text, handle as u64);
            push_bytes(L, &text[..len]);
        } else {
            luaL_tolstring(L, index, std::ptr::null_mut());
        }
    }
}

/// `:%08x`; returns the length.
fn hex(out: &mut [u8; 24], value: u64) -> usize {
    use std::io::Write;
    let mut rest = &mut out[..];
    let before = rest.len();
    // 17 bytes at most, so there is room.
    let _ = write!(rest, ":{value:08x}");
    before - rest.len()
}

/// `call failed`, and the cause in lines below.
#[cold]
unsafe fn failed(L: *mut lua_State, vm: *mut Vm, wake: Wake, address: c_int) -> ! {
    // SAFETY: the caller is a continuation with nothing to drop.
    unsafe {
        if wake == Wake::Deadline {
            lua_pushstring(L, c"call timeout ".as_ptr());
            push_address(L, address);
            lua_concat(L, 2);
            fail_top(L);
        }
        push_where(L);
        lua_pushstring(L, c"call failed".as_ptr());
        let cause = &raw mut (*sched(vm)).cause;
        let mut pieces = 2;
        if wake == Wake::Failed
            && let Some(text) = &*cause
        {
            lua_pushstring(L, c"\n".as_ptr());
            push_bytes(L, text);
            pieces = 4;
        }
        *cause = None;
        lua_concat(L, pieces);
        lua_error(L)
    }
}

/// Whether the running coroutine has a trace tag.
#[inline]
pub(super) unsafe fn is_traced(vm: *mut Vm) -> bool {
    // SAFETY: the caller vouches for vm.
    unsafe {
        match (*sched(vm)).running() {
            Some(coro) => coro.flags & flag::TRACED != 0,
            None => false,
        }
    }
}

lua_functions! {
    /// `skynet.call(addr, proto, ...)`
    pub(super) fn call(L, vm) {
        call_from_stack(L, vm)
    }

    /// `skynet.rawcall(addr, proto, msg [, sz])`
    pub(super) fn rawcall(L, vm) {
        lua_settop(L, 4);
        check_yield(L, vm);
        let class = push_class(L, vm, 2);
        let id = class_id(L, class);
        if is_traced(vm) {
            trace::ahead(L, vm, 1);
        }
        let session = launch(L, vm, 1, id, Packed::Stack(3), true);
        lua_settop(L, 1);
        suspend(L, vm, mode::RAW | (session as isize) << 8, answered)
    }

    /// `skynet.tracecall(tag, addr, proto, msg [, sz])`
    pub(super) fn tracecall(L, vm) {
        lua_settop(L, 5);
        check_yield(L, vm);
        luaL_checkstring(L, 1);
        trace::line_with_tag(L, vm, 1, b"tracecall begin");
        let class = push_class(L, vm, 3);
        let id = class_id(L, class);
        trace::send_tag(L, vm, 2, string_at(L, 1).unwrap_or_default());
        let session = launch(L, vm, 2, id, Packed::Stack(4), true);
        lua_settop(L, 2);
        // address, tag
        lua_rotate(L, 1, 1);
        suspend(L, vm, mode::TRACE | (session as isize) << 8, answered)
    }

    /// `skynet.call_timeout(cs, addr, proto, ...)`: ours. As `call`, but raises
    /// `call timeout <addr>` if no answer came within `cs` centiseconds; the
    /// late answer is dropped.
    pub(super) fn call_timeout(L, vm) {
        let limit = luaL_checkinteger(L, 1).clamp(0, i64::from(i32::MAX)) as i32;
        lua_rotate(L, 1, -1);
        lua_settop(L, -2);
        let last = lua_gettop(L);
        luaL_checkstack(L, 8, std::ptr::null());
        check_yield(L, vm);
        let class = push_class(L, vm, 2);
        let id = class_id(L, class);
        let packed = pack_with(L, vm, class, 3, last);
        if is_traced(vm) {
            trace::ahead(L, vm, 1);
        }
        let session = launch(L, vm, 1, id, packed, false);
        let s = sched(vm);
        let timer = new_session(vm);
        let mut deadline = Waiter::new(Kind::Deadline, 0);
        deadline.watch = session as u32;
        (*s).pending.insert(timer, deadline);
        context(vm).timeout(limit, timer);
        lua_copy(L, class, 2);
        lua_settop(L, 2);
        lua_pushinteger(L, lua_Integer::from(timer));
        suspend(L, vm, mode::DEADLINE | (session as isize) << 8, answered)
    }

    /// `skynet.newservice(name, ...)`
    pub(super) fn newservice(L, vm) {
        luaL_checkstack(L, 8, std::ptr::null());
        lua_pushstring(L, c".launcher".as_ptr());
        lua_pushstring(L, c"lua".as_ptr());
        lua_pushstring(L, c"LAUNCH".as_ptr());
        lua_pushstring(L, c"snlua".as_ptr());
        lua_rotate(L, 1, 4);
        call_from_stack(L, vm)
    }
}

/// `call` with its arguments on the stack from index 1 on.
#[inline]
pub(super) unsafe fn call_from_stack(L: *mut lua_State, vm: *mut Vm) -> c_int {
    // SAFETY: called by a native function as its last act.
    unsafe {
        let last = lua_gettop(L);
        luaL_checkstack(L, 6, std::ptr::null());
        check_yield(L, vm);
        let class = push_class(L, vm, 2);
        let id = class_id(L, class);
        let packed = pack_with(L, vm, class, 3, last);
        if is_traced(vm) {
            trace::ahead(L, vm, 1);
        }
        let session = launch(L, vm, 1, id, packed, false);
        lua_copy(L, class, 2);
        lua_settop(L, 2);
        suspend(L, vm, mode::UNPACK | (session as isize) << 8, answered)
    }
}

continuations! {
    /// The answer is there, or will not come.
    fn answered(L, vm, context) {
        let s = sched(vm);
        let wake = std::mem::take(&mut (*s).wake);
        let session = (context >> 8) as i32;
        let context = context & 0xff;
        let kept = match context {
            mode::RAW => 1,
            mode::DEADLINE => 3,
            _ => 2,
        };
        lua_settop(L, kept);
        if serial::in_use(vm) {
            serial::forget_call(vm, session);
        }
        if context == mode::DEADLINE && wake != Wake::Deadline {
            let timer = lua_tointegerx(L, 3, std::ptr::null_mut()) as i32;
            if (*s).pending.contains(timer) {
                (*s).pending.insert(timer, Waiter::new(Kind::Break, 0));
            }
        }
        if wake != Wake::Answer {
            failed(L, vm, wake, 1);
        }
        if is_traced(vm) {
            let running = (*s).running;
            trace::line(L, vm, running, b"resume", None);
        }
        match context {
            mode::UNPACK | mode::DEADLINE => unpack_answer(L, vm),
            mode::TRACE => {
                trace::line_with_tag(L, vm, 2, b"tracecall end");
                push_current(L, vm);
                2
            }
            _ => {
                push_current(L, vm);
                2
            }
        }
    }

    /// `unpack` of the protocol returned (after having yielded, perhaps).
    fn unpacked(L, vm, base) {
        lua_gettop(L) - base as c_int
    }
}

/// Unpacks the answer with the class at index 2.
#[inline]
unsafe fn unpack_answer(L: *mut lua_State, vm: *mut Vm) -> c_int {
    // SAFETY: called by a continuation as its last act.
    unsafe {
        lua_getfield(L, 2, c"unpack".as_ptr());
        if is_native(L, -1, lib::unpack) {
            return unpack(L, current_bytes(vm));
        }
        let base = lua_gettop(L) - 1;
        if lua_type(L, -1) == LUA_TNIL {
            fail(L, b"attempt to call a nil value (field 'unpack')");
        }
        push_current(L, vm);
        lua_callk(L, 2, LUA_MULTRET, base as lua_KContext, Some(unpacked));
        lua_gettop(L) - base
    }
}

/// The type of a request that carries a trace tag.
pub(super) const TRACE: u8 = ptype::TRACE;
