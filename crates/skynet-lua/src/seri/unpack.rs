//! From bytes to a Lua stack.

use std::ffi::c_int;

use super::read::{Invalid, Item, Reader};
use crate::ffi::*;

/// Why bytes could not be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnpackError {
    /// Malformed bytes.
    Invalid(Invalid),
    /// No room on the Lua stack.
    Stack,
}

impl UnpackError {
    /// Raises the error in Lua, with upstream's text.
    ///
    /// # Safety
    /// As [`raise`].
    #[cold]
    pub unsafe fn raise(self, L: *mut lua_State) -> ! {
        // SAFETY: the caller vouches for L and for its frames.
        unsafe {
            match self {
                Self::Invalid(Invalid { left, line }) => {
                    luaL_error(
                        L,
                        c"Invalid serialize stream %d (line:%d)".as_ptr(),
                        left as c_int,
                        line as c_int,
                    );
                }
                Self::Stack => raise(L, b"stack overflow"),
            }
        }
        unreachable!("luaL_error does not return")
    }
}

impl From<Invalid> for UnpackError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// Pushes the values that `bytes` hold and returns how many they are.
///
/// On an error the stack may hold some values more than before. Raises where
/// Lua does: no memory, a NaN as table key. Nesting costs slots of the Lua stack and none of
/// the C stack; what is allocated ahead is bounded by the length of the bytes.
///
/// # Safety
/// `L` is a live Lua thread, in a call that may raise; `bytes` are owned by
/// something that such an error leaves in place; the frames up to the next
/// protected call hold nothing with a destructor.
#[inline]
pub unsafe fn unpack_to_stack(L: *mut lua_State, bytes: &[u8]) -> Result<c_int, UnpackError> {
    let mut reader = Reader::new(bytes);
    // Array slots that may still be made ahead.
    let mut budget = bytes.len();
    let mut count = 0;
    while !reader.is_empty() {
        // Every value needs a slot; ask for room in steps.
        // SAFETY: the caller vouches for L.
        if count % 8 == 0 && unsafe { lua_checkstack(L, 8 + 1) } == 0 {
            return Err(UnpackError::Stack);
        }
        // The reader is not empty, so the line is not used.
        let item = reader.item_or(0)?;
        // SAFETY: a slot is free.
        unsafe {
            match item {
                Item::Table(size) => table(L, size, &mut reader, &mut budget)?,
                scalar => push(L, scalar),
            }
        }
        count += 1;
    }
    Ok(count)
}

/// Pushes a value that is no table. Slots: 1. May raise (memory).
#[inline]
unsafe fn push(L: *mut lua_State, item: Item<'_>) {
    // SAFETY: the caller vouches for L and a free slot.
    unsafe {
        match item {
            Item::Nil | Item::Table(_) => lua_pushnil(L),
            Item::Boolean(value) => lua_pushboolean(L, value as c_int),
            Item::Integer(value) => lua_pushinteger(L, value),
            Item::Real(value) => lua_pushnumber(L, value),
            Item::Pointer(value) => lua_pushlightuserdata(L, value as *mut _),
            Item::String(bytes) => push_bytes(L, bytes),
        }
    }
}

/// Where the reading of a table is.
#[derive(Clone, Copy)]
struct Level {
    /// Array elements read.
    at: u32,
    /// Array elements there are.
    size: u32,
}

impl Level {
    /// As an integer on the Lua stack, while a table inside is read.
    fn save(self) -> lua_Integer {
        (i64::from(self.at) << 32) | i64::from(self.size)
    }

    fn restore(saved: lua_Integer) -> Self {
        Self {
            at: (saved >> 32) as u32,
            size: saved as u32,
        }
    }
}

/// Makes the table on the top; its first element is to be read.
#[inline]
unsafe fn begin(L: *mut lua_State, size: u32, left: usize, budget: &mut usize) -> Level {
    // Each element takes a byte at least, and all tables together get no more
    // slots ahead than the message has bytes.
    let ahead = (size as usize).min(left).min(*budget);
    *budget -= ahead;
    // SAFETY: the caller vouches for L and a free slot.
    unsafe { lua_createtable(L, ahead.min(c_int::MAX as usize) as c_int, 0) };
    Level { at: 0, size }
}

/// Reads a table, with what is in it. Slots for open tables, from below:
/// table, [key,] saved level (for each table that contains the current one), table, [key].
unsafe fn table(
    L: *mut lua_State,
    size: u32,
    reader: &mut Reader<'_>,
    budget: &mut usize,
) -> Result<(), UnpackError> {
    // SAFETY: the caller vouches for L; room is asked for at each level, whose
    // own needs are: table, key, value, saved level.
    unsafe {
        if lua_checkstack(L, LUA_MINSTACK) == 0 {
            return Err(UnpackError::Stack);
        }
        let mut level = begin(L, size, reader.left(), budget);
        let mut depth = 0usize;
        // Whether a key is on the top and its value is to be read.
        let mut keyed = false;
        loop {
            let item = reader.inner()?;
            if let Item::Table(size) = item {
                if lua_checkstack(L, LUA_MINSTACK) == 0 {
                    return Err(UnpackError::Stack);
                }
                lua_pushinteger(L, level.save());
                // A float marks "no key below".
                lua_pushboolean(L, keyed as c_int);
                level = begin(L, size, reader.left(), budget);
                keyed = false;
                depth += 1;
                continue;
            }
            let is_end = !keyed && level.at == level.size && matches!(item, Item::Nil);
            if is_end {
                if depth == 0 {
                    return Ok(());
                }
                depth -= 1;
                // ..., outer table, [key,] saved, keyed, finished table
                keyed = lua_toboolean(L, -2) != 0;
                level = Level::restore(lua_tointegerx(L, -3, std::ptr::null_mut()));
                lua_rotate(L, -3, 1);
                lua_settop(L, -3);
                // ..., outer table, [key,] finished table
            } else {
                push(L, item);
            }
            // ..., table, [key,] value
            if keyed {
                lua_rawset(L, -3);
                keyed = false;
            } else if level.at < level.size {
                level.at += 1;
                lua_rawseti(L, -2, lua_Integer::from(level.at));
            } else {
                keyed = true;
            }
        }
    }
}
