//! Module `skynet.core` (spec/01-core.md §15): what a scheduler written in Lua
//! needs. The native one does not go through here, but both may be used side by side.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use skynet_core::{Address, Payload, SendError, parse_base_0, parse_hex};

use crate::callback;
use crate::ffi::*;
use crate::lib_trace;
use crate::seri::{pack_from_stack, unpack_to_stack};
use crate::vm::{Vm, context_of, node_of, vm_of};

/// Opens the module; it needs a service.
pub(crate) unsafe extern "C-unwind" fn luaopen_skynet_core(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with LUA_MINSTACK slots.
    unsafe {
        lua_getfield(L, LUA_REGISTRYINDEX, c"skynet_context".as_ptr());
        if lua_touserdata(L, -1).is_null() {
            raise(L, b"Init skynet context first");
        }
        new_library(
            L,
            &[
                (c"send", send),
                (c"genid", genid),
                (c"redirect", redirect),
                (c"command", command),
                (c"intcommand", intcommand),
                (c"addresscommand", addresscommand),
                (c"error", error),
                (c"harbor", harbor),
                (c"callback", callback::set),
                (c"trace", lib_trace::trace),
                (c"tostring", tostring),
                (c"trash", trash),
                (c"pack", pack),
                (c"packstring", packstring),
                (c"unpack", unpack),
                (c"now", now),
                (c"hpc", hpc),
            ],
            0,
        );
    }
    1
}

/// Runs Rust code that owns things. A panic in it becomes a Lua error, raised
/// when everything it owned is gone.
///
/// # Safety
/// As [`raise`].
pub(crate) unsafe fn caught<R: Copy>(L: *mut lua_State, body: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(panic) => {
            drop(panic);
            // SAFETY: the caller's contract; `R` is Copy, the panic is dropped.
            unsafe { raise(L, b"internal error (a panic in native code)") }
        }
    }
}

/// Flag of `skynet_send`: a session is to be allocated.
const ALLOC_SESSION: lua_Integer = 0x2_0000;

/// Where a message goes. The text lives in a Lua string on the stack.
#[derive(Clone, Copy)]
enum To<'a> {
    Handle(u32),
    Name(&'a [u8]),
}

unsafe extern "C-unwind" fn send(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe { send_from(L, 0, 2) }
}

unsafe extern "C-unwind" fn redirect(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let source = luaL_checkinteger(L, 2) as u32;
        send_from(L, source, 3)
    }
}

/// The common part: type, session and message are at `at` and after.
unsafe fn send_from(L: *mut lua_State, source: u32, at: c_int) -> c_int {
    // SAFETY: called by Lua. Everything that may raise comes before the payload
    // exists, and the payload is gone before anything is pushed.
    unsafe {
        let to = match integer_at(L, 1) {
            Some(handle) if handle != 0 => To::Handle(handle as u32),
            // A number that is no handle; a string such as "0" is a name.
            _ if lua_type(L, 1) == LUA_TNUMBER => raise(L, b"Invalid service address 0"),
            _ => match string_at(L, 1) {
                Some(name) => To::Name(name),
                None => {
                    luaL_error(
                        L,
                        c"dest address type (%s) must be a string or number.".as_ptr(),
                        type_name(L, 1).as_ptr(),
                    );
                    return 0;
                }
            },
        };
        let kind = luaL_checkinteger(L, at);
        let context = context_of(L);
        let given = if lua_type(L, at + 1) == LUA_TNIL {
            None
        } else {
            Some(luaL_checkinteger(L, at + 1) as i32)
        };
        let block: Option<(*mut c_void, usize)> = match lua_type(L, at + 2) {
            LUA_TSTRING => None,
            LUA_TLIGHTUSERDATA => {
                let size = luaL_checkinteger(L, at + 3) as u32 as usize;
                Some((lua_touserdata(L, at + 2), size))
            }
            _ => {
                luaL_error(
                    L,
                    c"invalid param %s".as_ptr(),
                    type_name(L, at + 2).as_ptr(),
                );
                return 0;
            }
        };
        // A name of this node that nobody has uses up no session (spec 01 §4.4).
        let to = match to {
            To::Name(name) => match Address::parse(name) {
                Address::Local(local) => match context.node().find_name(local) {
                    Some(handle) => To::Handle(handle),
                    None => {
                        if let Some((pointer, size)) = block {
                            caught(L, || drop(Payload::from_malloc(pointer, size)));
                        }
                        return 0;
                    }
                },
                _ => to,
            },
            To::Handle(_) => to,
        };
        let session = match given {
            Some(0) if kind & ALLOC_SESSION != 0 => context.new_session(),
            Some(session) => session,
            None => context.new_session(),
        };
        let source = if source == 0 {
            context.handle()
        } else {
            source
        };
        let text = string_at(L, at + 2).unwrap_or_default();
        let result = caught(L, || {
            let payload = match block {
                Some((pointer, size)) => Payload::from_malloc(pointer, size),
                None if text.is_empty() => Payload::null(),
                None => Payload::from_slice(text),
            };
            match to {
                To::Handle(handle) => {
                    context.redirect(handle, source, kind as u8, session, payload)
                }
                To::Name(name) => context.send_name(name, source, kind as u8, session, payload),
            }
        });
        // Upstream's quirk: nothing sent to nobody counts as sent.
        let nothing = match block {
            Some((pointer, _)) => pointer.is_null(),
            None => text.is_empty(),
        };
        let result = match result {
            Err(SendError::NoDestination) if nothing => Ok(()),
            other => other,
        };
        match result {
            Ok(()) if session >= 0 => {
                lua_pushinteger(L, lua_Integer::from(session));
                1
            }
            // Upstream tells the size error from others by the value -2.
            Err(SendError::TooLarge) => {
                lua_pushboolean(L, 0);
                1
            }
            Ok(()) if session == -2 => {
                lua_pushboolean(L, 0);
                1
            }
            Ok(()) | Err(_) => 0,
        }
    }
}

unsafe extern "C-unwind" fn genid(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua in a service's VM.
    unsafe {
        let session = context_of(L).new_session();
        lua_pushinteger(L, lua_Integer::from(session));
    }
    1
}

/// Runs a command; its result, if any, is in the Vm's `text` afterwards.
///
/// # Safety
/// Called by Lua; the slices live in Lua strings on the stack or in static memory.
unsafe fn run(L: *mut lua_State, name: &[u8], parameter: Option<&[u8]>) -> Option<*mut Vm> {
    // SAFETY: `text` is borrowed for the assignment only.
    unsafe {
        let vm = vm_of(L);
        let context = context_of(L);
        caught(L, || match context.command(name, parameter) {
            Some(result) => {
                (*vm).text = result;
                Some(vm)
            }
            None => None,
        })
    }
}

/// The bytes of a string argument (numbers are converted), or raises.
unsafe fn check_bytes<'a>(L: *mut lua_State, at: c_int) -> &'a [u8] {
    // SAFETY: called by Lua; the string is on the stack.
    unsafe {
        let mut len = 0;
        let pointer = luaL_checklstring(L, at, &mut len);
        std::slice::from_raw_parts(pointer.cast(), len)
    }
}

unsafe extern "C-unwind" fn command(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let name = check_bytes(L, 1);
        let parameter = (lua_gettop(L) == 2).then(|| check_bytes(L, 2));
        match run(L, name, parameter) {
            Some(vm) => {
                push_bytes(L, &(*vm).text);
                1
            }
            None => 0,
        }
    }
}

unsafe extern "C-unwind" fn addresscommand(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let name = check_bytes(L, 1);
        let parameter = (lua_gettop(L) == 2).then(|| check_bytes(L, 2));
        let Some(vm) = run(L, name, parameter) else {
            return 0;
        };
        let handle = match (&(*vm).text)[..] {
            [b':', ref hex @ ..] => parse_hex(hex),
            _ => return 0,
        };
        lua_pushinteger(L, lua_Integer::from(handle));
    }
    1
}

/// A result of `intcommand`.
#[derive(Clone, Copy)]
enum Number {
    Integer(i64),
    Float(f64),
}

/// The whole text as C's `strtol` with base prefix, else as `strtod`.
fn parse_number(text: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.trim_start().trim_start_matches(['+', '-']);
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', ..] => (digits, 8),
        _ => (digits, 10),
    };
    if digits.chars().all(|c| c.is_digit(radix)) {
        return Some(Number::Integer(parse_base_0(text.as_bytes())));
    }
    text.trim_start().parse().ok().map(Number::Float)
}

unsafe extern "C-unwind" fn intcommand(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. The digits are in a local array; what `run` makes
    // is in the Vm.
    unsafe {
        let name = check_bytes(L, 1);
        let mut digits = [0u8; 12];
        let parameter = if lua_gettop(L) != 2 {
            None
        } else if lua_isnumber(L, 2) != 0 {
            let value = luaL_checkinteger(L, 2) as i32;
            Some(&*print_integer(value, &mut digits))
        } else {
            Some(check_bytes(L, 2))
        };
        let Some(vm) = run(L, name, parameter) else {
            return 0;
        };
        let number = parse_number(&(*vm).text);
        match number {
            Some(Number::Integer(value)) => lua_pushinteger(L, value),
            Some(Number::Float(value)) => lua_pushnumber(L, value),
            None => {
                (*vm).text.push(0);
                luaL_error(
                    L,
                    c"Invalid result %s".as_ptr(),
                    (*vm).text.as_ptr().cast::<std::ffi::c_char>(),
                );
            }
        }
    }
    1
}

/// Decimal digits of `value`, in `out`.
fn print_integer(value: i32, out: &mut [u8; 12]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut at = out.len();
    loop {
        at -= 1;
        out[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        out[at] = b'-';
    }
    &out[at..]
}

pub(crate) unsafe extern "C-unwind" fn error(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. The text is a Lua string on the stack.
    unsafe {
        let n = lua_gettop(L);
        if n <= 1 {
            if n == 0 {
                lua_pushnil(L);
            }
            luaL_tolstring(L, 1, std::ptr::null_mut());
        } else {
            luaL_checkstack(L, n.saturating_add(4), std::ptr::null());
            luaL_tolstring(L, 1, std::ptr::null_mut());
            for i in 2..=n {
                lua_pushstring(L, c" ".as_ptr());
                luaL_tolstring(L, i, std::ptr::null_mut());
                // In steps, so that any number of arguments fits the stack.
                lua_concat(L, 3);
            }
        }
        let text = string_at(L, -1).unwrap_or_default();
        let context = context_of(L);
        caught(L, || context.log(text));
    }
    0
}

pub(crate) unsafe extern "C-unwind" fn harbor(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let handle = luaL_checkinteger(L, 1) as u32;
        let remote = node_of(L).is_remote(handle);
        lua_pushinteger(L, lua_Integer::from(handle >> skynet_core::HARBOR_SHIFT));
        lua_pushboolean(L, c_int::from(remote));
    }
    2
}

pub(crate) unsafe extern "C-unwind" fn tostring(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the caller of a light userdata and a size vouches
    // for that memory, as on upstream.
    unsafe {
        if lua_type(L, 1) <= LUA_TNIL {
            return 0;
        }
        let pointer = lua_touserdata(L, 1);
        let size = luaL_checkinteger(L, 2) as c_int;
        if size <= 0 {
            lua_pushstring(L, c"".as_ptr());
        } else if pointer.is_null() {
            luaL_argerror(L, 1, c"a message pointer expected".as_ptr());
        } else {
            lua_pushlstring(L, pointer.cast(), size as usize);
        }
    }
    1
}

pub(crate) unsafe extern "C-unwind" fn trash(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; a light userdata is a malloc block that the caller owns.
    unsafe {
        match lua_type(L, 1) {
            LUA_TSTRING => {}
            LUA_TLIGHTUSERDATA => {
                luaL_checkinteger(L, 2);
                libc::free(lua_touserdata(L, 1));
            }
            _ => {
                luaL_error(
                    L,
                    c"skynet.trash invalid param %s".as_ptr(),
                    type_name(L, 1).as_ptr(),
                );
            }
        }
    }
    0
}

pub(crate) unsafe extern "C-unwind" fn now(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let now = node_of(L).now();
        lua_pushinteger(L, now as lua_Integer);
    }
    1
}

pub(crate) unsafe extern "C-unwind" fn hpc(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let ns = node_of(L).monotonic_ns();
        lua_pushinteger(L, ns as lua_Integer);
    }
    1
}

/// Packs all arguments; the bytes are in the Vm's `scratch` from the returned place on.
unsafe fn pack_arguments(L: *mut lua_State) -> (*mut Vm, usize) {
    // SAFETY: called by Lua; the buffer belongs to the Vm.
    unsafe {
        let vm = vm_of(L);
        let scratch = &raw mut (*vm).scratch;
        let base = (*scratch).len();
        let top = lua_gettop(L);
        if let Err(error) = pack_from_stack(L, 1, top, scratch) {
            (*scratch).truncate(base);
            error.raise(L);
        }
        (vm, base)
    }
}

pub(crate) unsafe extern "C-unwind" fn pack(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. The block is malloc'ed between calls that may
    // raise and handed to Lua as a number and an address, which cannot fail.
    unsafe {
        let (vm, base) = pack_arguments(L);
        let bytes = &(&(*vm).scratch)[base..];
        let size = bytes.len();
        let block = libc::malloc(size.max(1));
        if !block.is_null() {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), block.cast(), size);
        }
        (*vm).scratch.truncate(base);
        if block.is_null() {
            raise(L, b"not enough memory");
        }
        if lua_checkstack(L, 2) == 0 {
            libc::free(block);
            raise(L, b"stack overflow");
        }
        lua_pushlightuserdata(L, block);
        lua_pushinteger(L, size as lua_Integer);
    }
    2
}

pub(crate) unsafe extern "C-unwind" fn packstring(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. If the push raises, the bytes stay in the Vm's
    // scratch until the next dispatch clears it.
    unsafe {
        let (vm, base) = pack_arguments(L);
        luaL_checkstack(L, 1, std::ptr::null());
        push_bytes(L, &(&(*vm).scratch)[base..]);
        (*vm).scratch.truncate(base);
    }
    1
}

pub(crate) unsafe extern "C-unwind" fn unpack(L: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. The bytes belong to a string that stays at index
    // 1, or to the message that the caller names by pointer and size.
    unsafe {
        if lua_type(L, 1) <= LUA_TNIL {
            return 0;
        }
        let bytes: &[u8] = match string_at(L, 1) {
            Some(bytes) => bytes,
            None => {
                let pointer = lua_touserdata(L, 1);
                let size = luaL_checkinteger(L, 2) as c_int;
                if size <= 0 {
                    return 0;
                }
                if pointer.is_null() {
                    raise(L, b"deserialize null pointer");
                }
                std::slice::from_raw_parts(pointer.cast(), size as usize)
            }
        };
        lua_settop(L, 1);
        match unpack_to_stack(L, bytes) {
            Ok(count) => count,
            Err(error) => error.raise(L),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_print_as_decimal() {
        for value in [0, 7, -1, 10, i32::MAX, i32::MIN] {
            assert_eq!(
                print_integer(value, &mut [0; 12]),
                value.to_string().as_bytes()
            );
        }
    }

    #[test]
    fn results_are_integers_with_a_base_or_floats() {
        let integer = |text: &[u8]| match parse_number(text) {
            Some(Number::Integer(value)) => Some(value),
            _ => None,
        };
        assert_eq!(integer(b"0x10"), Some(16));
        assert_eq!(integer(b"010"), Some(8));
        assert_eq!(integer(b""), Some(0));
        assert_eq!(integer(b"-12"), Some(-12));
        assert!(matches!(parse_number(b"0.5"), Some(Number::Float(v)) if v == 0.5));
        assert!(parse_number(b":8").is_none());
    }
}
