//! From a Lua stack to bytes.

use std::ffi::c_int;
use std::ptr::null_mut;

use super::{MAX_DEPTH, write};
use crate::ffi::*;

/// Why values could not be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackError {
    /// A value is nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// A value of this Lua type has no packed form.
    Unsupported(c_int),
    /// A string of 4 GiB or more.
    TooLong,
    /// A table whose sequence is longer than the format can say.
    TooMany,
    /// No room on the Lua stack.
    Stack,
    /// No memory for the bytes.
    Memory,
}

impl PackError {
    /// Raises the error in Lua, with upstream's text where it has one.
    ///
    /// # Safety
    /// As [`raise`].
    #[cold]
    pub unsafe fn raise(self, L: *mut lua_State) -> ! {
        // SAFETY: the caller vouches for L and for its frames.
        unsafe {
            match self {
                Self::TooDeep => raise(L, b"serialize can't pack too depth table"),
                Self::Unsupported(kind) => {
                    luaL_error(
                        L,
                        c"Unsupport type %s to serialize".as_ptr(),
                        lua_typename(L, kind),
                    );
                }
                Self::TooLong => raise(L, b"serialize can't pack a string of 4 GiB or more"),
                Self::TooMany => raise(L, b"serialize can't pack a sequence of 2^31 or more"),
                Self::Stack => raise(L, b"stack overflow"),
                Self::Memory => raise(L, b"not enough memory"),
            }
        }
        unreachable!("luaL_error does not return")
    }
}

impl From<write::NoMemory> for PackError {
    fn from(_: write::NoMemory) -> Self {
        Self::Memory
    }
}

impl From<write::StringError> for PackError {
    fn from(error: write::StringError) -> Self {
        match error {
            write::StringError::NoMemory => Self::Memory,
            write::StringError::TooLong => Self::TooLong,
        }
    }
}

/// Appends the packed form of the values at `first..=last` (absolute indices;
/// none if `last < first`) to `*out`. The stack is as before when it returns `Ok`.
///
/// On an error `*out` has bytes that mean nothing after what it had, and the
/// stack may hold more values than before.
///
/// Raises nothing itself, but a table with a `__pairs` metafield has it called,
/// which may raise anything, and may come back here with the same `out`: it
/// then appends after what is there and the caller cuts it off again.
///
/// # Safety
/// `L` is a live Lua thread of which the values are below the top; `out` is
/// valid and nobody holds a reference to it; the frames up to the next
/// protected call hold nothing with a destructor.
#[inline]
pub unsafe fn pack_from_stack(
    L: *mut lua_State,
    first: c_int,
    last: c_int,
    out: *mut Vec<u8>,
) -> Result<(), PackError> {
    for index in first..=last {
        // SAFETY: the caller's contract; `index` is an absolute stack index.
        unsafe { pack_value(L, index, lua_type(L, index), 0, out)? };
    }
    Ok(())
}

/// One value, of type `kind`, at an absolute index or on the top (-1).
#[inline]
unsafe fn pack_value(
    L: *mut lua_State,
    index: c_int,
    kind: c_int,
    depth: u32,
    out: *mut Vec<u8>,
) -> Result<(), PackError> {
    // SAFETY: the caller's contract (`pack_from_stack`). `out` is borrowed
    // only for the writer calls, which do not call Lua.
    unsafe {
        match kind {
            LUA_TNUMBER => {
                if lua_isinteger(L, index) != 0 {
                    write::integer(&mut *out, lua_tointegerx(L, index, null_mut()))?;
                } else {
                    write::real(&mut *out, lua_tonumberx(L, index, null_mut()))?;
                }
            }
            LUA_TSTRING => {
                let mut len = 0;
                let pointer = lua_tolstring(L, index, &mut len);
                let bytes = std::slice::from_raw_parts(pointer.cast(), len);
                write::string(&mut *out, bytes)?;
            }
            LUA_TBOOLEAN => write::boolean(&mut *out, lua_toboolean(L, index) != 0)?,
            LUA_TNIL => write::nil(&mut *out)?,
            LUA_TTABLE => pack_table(L, lua_absindex(L, index), depth, out)?,
            LUA_TLIGHTUSERDATA => write::pointer(&mut *out, lua_touserdata(L, index) as u64)?,
            other => return Err(PackError::Unsupported(other)),
        }
        Ok(())
    }
}

/// The value on the top, inside a table; pops it.
#[inline]
unsafe fn pack_inner(
    L: *mut lua_State,
    kind: c_int,
    depth: u32,
    out: *mut Vec<u8>,
) -> Result<(), PackError> {
    if depth > MAX_DEPTH {
        return Err(PackError::TooDeep);
    }
    // SAFETY: the caller's contract.
    unsafe {
        pack_value(L, -1, kind, depth, out)?;
        lua_settop(L, -2);
    }
    Ok(())
}

/// The table at an absolute index. Recursion ends at [`MAX_DEPTH`].
unsafe fn pack_table(
    L: *mut lua_State,
    index: c_int,
    depth: u32,
    out: *mut Vec<u8>,
) -> Result<(), PackError> {
    // SAFETY: the caller's contract. Raw accesses only, which neither raise
    // nor allocate, until a metafield is called.
    unsafe {
        if lua_checkstack(L, LUA_MINSTACK) == 0 {
            return Err(PackError::Stack);
        }
        if lua_getmetatable(L, index) != 0 {
            lua_settop(L, -2);
            if luaL_getmetafield(L, index, c"__pairs".as_ptr()) != LUA_TNIL {
                return pack_pairs(L, index, depth, out);
            }
        }
        let n = lua_rawlen(L, index);
        if n > i32::MAX as usize {
            return Err(PackError::TooMany);
        }
        write::table(&mut *out, n as u32)?;
        let n = n as lua_Integer;
        for i in 1..=n {
            let kind = lua_rawgeti(L, index, i);
            pack_inner(L, kind, depth + 1, out)?;
        }
        lua_pushnil(L);
        while lua_next(L, index) != 0 {
            let key = lua_type(L, -2);
            if key == LUA_TNUMBER && lua_isinteger(L, -2) != 0 {
                let i = lua_tointegerx(L, -2, null_mut());
                if i > 0 && i <= n {
                    lua_settop(L, -2);
                    continue;
                }
            }
            if depth + 1 > MAX_DEPTH {
                return Err(PackError::TooDeep);
            }
            if key == LUA_TTABLE {
                // Its elements go on the stack above the value.
                lua_pushvalue(L, -2);
                pack_inner(L, key, depth + 1, out)?;
            } else {
                pack_value(L, -2, key, depth + 1, out)?;
            }
            let kind = lua_type(L, -1);
            pack_inner(L, kind, depth + 1, out)?;
        }
        write::nil(&mut *out)?;
        Ok(())
    }
}

/// The table at `index` by the `__pairs` function on the top; pops it.
unsafe fn pack_pairs(
    L: *mut lua_State,
    index: c_int,
    depth: u32,
    out: *mut Vec<u8>,
) -> Result<(), PackError> {
    // SAFETY: the caller's contract. Nothing here has a destructor, so what
    // the called functions raise may pass through. Each may append to `out`
    // and be interrupted in it by an error, so the length is put back after it.
    unsafe {
        write::table(&mut *out, 0)?;
        let mut len = (*out).len();
        lua_pushvalue(L, index);
        lua_callk(L, 1, 3, 0, None);
        loop {
            (*out).truncate(len);
            // iterator, state, control
            lua_pushvalue(L, -3);
            lua_pushvalue(L, -3);
            lua_rotate(L, -3, -1);
            // iterator, state, iterator, state, control
            lua_callk(L, 2, 2, 0, None);
            (*out).truncate(len);
            // iterator, state, key, value
            let key = lua_type(L, -2);
            if key == LUA_TNIL {
                lua_settop(L, -5);
                break;
            }
            lua_pushvalue(L, -2);
            pack_inner(L, key, depth + 1, out)?;
            let kind = lua_type(L, -1);
            pack_inner(L, kind, depth + 1, out)?;
            len = (*out).len();
        }
        write::nil(&mut *out)?;
        Ok(())
    }
}
