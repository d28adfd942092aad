//! The byte queue behind `buffer`, `push`, `pop`, `readall`, `readline` and
//! `clear` of `skynet.socketdriver` (spec/03-network.md §2).
//!
//! One contiguous block per socket: the first message's block is adopted as it
//! is, later ones are appended. An empty queue owns no memory, so an idle
//! connection costs its userdata only. `readline` remembers how far it has
//! looked, so a line that comes in many pieces is scanned once.
//!
//! A queue lives in a Lua userdata, so nothing here has a destructor; the
//! metatable's `__gc` frees the block.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;

use crate::ffi::*;

/// Marks our userdata: its address is a number no other userdata holds at its start.
static MARK: u8 = 0;
/// Registry key of the metatable.
static META: u8 = 0;

/// The bytes `data[start..end]` are queued.
#[repr(C)]
pub(super) struct Buffer {
    mark: *const u8,
    data: *mut u8,
    capacity: usize,
    start: usize,
    end: usize,
    /// No separator begins in `data[start..scanned]`.
    scanned: usize,
    /// What `scanned` was found with (see [`separator_key`]); 0 = nothing.
    scanned_for: u64,
}

/// A number that tells separators apart: exact up to 7 bytes, a hash above.
fn separator_key(separator: &[u8]) -> u64 {
    if separator.len() <= 7 {
        let seed = separator.len() as u64;
        return separator
            .iter()
            .fold(seed, |key, &byte| key << 8 | u64::from(byte));
    }
    let hash = separator
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    hash | 1 << 63
}

/// Where `needle` begins in `haystack`.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    // SAFETY: both functions read the given lengths only and return NULL or a
    // pointer into the haystack.
    let at = unsafe {
        match needle {
            [byte] => libc::memchr(haystack.as_ptr().cast(), c_int::from(*byte), haystack.len()),
            _ => libc::memmem(
                haystack.as_ptr().cast(),
                haystack.len(),
                needle.as_ptr().cast(),
                needle.len(),
            ),
        }
    };
    (!at.is_null()).then(|| at as usize - haystack.as_ptr() as usize)
}

impl Buffer {
    const fn new() -> Self {
        Self {
            mark: &raw const MARK,
            data: null_mut(),
            capacity: 0,
            start: 0,
            end: 0,
            scanned: 0,
            scanned_for: 0,
        }
    }

    fn len(&self) -> usize {
        self.end - self.start
    }

    fn bytes(&self) -> &[u8] {
        if self.data.is_null() {
            return &[];
        }
        // SAFETY: `data` is a malloc block of `capacity` >= `end` bytes, of
        // which start..end have been written.
        unsafe { std::slice::from_raw_parts(self.data.add(self.start), self.len()) }
    }

    /// Frees the block.
    fn clear(&mut self) {
        // SAFETY: the block came from malloc and is ours; NULL is allowed.
        unsafe { libc::free(self.data.cast()) };
        *self = Self::new();
    }

    /// Appends a malloc block, which becomes ours. False: out of memory, nothing changed.
    ///
    /// # Safety
    /// `block` is a malloc block of at least `size` initialised bytes that nobody else frees.
    unsafe fn push(&mut self, block: *mut u8, size: usize) -> bool {
        if self.len() == 0 && size > 0 {
            self.clear();
            self.data = block;
            self.capacity = size;
            self.end = size;
            return true;
        }
        if !self.reserve(size) {
            return false;
        }
        // SAFETY: `reserve` made room behind `end`; the blocks are distinct.
        unsafe {
            if size > 0 {
                std::ptr::copy_nonoverlapping(block, self.data.add(self.end), size);
            }
            libc::free(block.cast());
        }
        self.end += size;
        true
    }

    /// Makes room for `more` bytes behind `end`.
    fn reserve(&mut self, more: usize) -> bool {
        if self.capacity - self.end >= more {
            return true;
        }
        let len = self.len();
        if len + more <= self.capacity / 2 {
            // SAFETY: both ranges lie in the block.
            unsafe { std::ptr::copy(self.data.add(self.start), self.data, len) };
        } else {
            let capacity = (len + more).max(len * 2);
            // SAFETY: malloc has no preconditions; the copy stays in both blocks.
            unsafe {
                let data = libc::malloc(capacity).cast::<u8>();
                if data.is_null() {
                    return false;
                }
                if len > 0 {
                    std::ptr::copy_nonoverlapping(self.data.add(self.start), data, len);
                }
                libc::free(self.data.cast());
                self.data = data;
            }
            self.capacity = capacity;
        }
        self.scanned = self.scanned.saturating_sub(self.start);
        self.start = 0;
        self.end = len;
        true
    }

    /// Removes `count` bytes (at most what is there) from the front.
    fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start >= self.end {
            self.clear();
        } else if self.scanned < self.start {
            self.scanned_for = 0;
        }
    }

    /// The length of the line before the first separator, which is not empty.
    fn line(&mut self, separator: &[u8]) -> Option<usize> {
        let key = separator_key(separator);
        let from = if self.scanned_for == key {
            self.scanned.max(self.start)
        } else {
            self.start
        };
        if let Some(at) = find(&self.bytes()[from - self.start..], separator) {
            return Some(from - self.start + at);
        }
        self.scanned_for = key;
        // A separator may have begun in the last bytes.
        self.scanned = (self.end + 1).saturating_sub(separator.len()).max(from);
        None
    }
}

/// The queue at `idx`, or NULL if the value there is none. Does not raise.
unsafe fn at(L: *mut lua_State, idx: c_int) -> *mut Buffer {
    // SAFETY: the caller vouches for L; a full userdata of our size whose first
    // word is MARK's address was made by `buffer`, as Lua code cannot write
    // into userdata and no other code knows the address.
    unsafe {
        if lua_type(L, idx) != LUA_TUSERDATA || lua_rawlen(L, idx) as usize != size_of::<Buffer>() {
            return null_mut();
        }
        let this = lua_touserdata(L, idx).cast::<Buffer>();
        if (*this).mark == &raw const MARK {
            this
        } else {
            null_mut()
        }
    }
}

/// The queue at index 1, or an error with this text.
unsafe fn check(L: *mut lua_State, text: &[u8]) -> *mut Buffer {
    // SAFETY: called by a function that Lua called, with nothing to drop.
    unsafe {
        let this = at(L, 1);
        if this.is_null() {
            raise(L, text);
        }
        this
    }
}

unsafe extern "C-unwind" fn collect(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; no reference outlives the statement.
    unsafe {
        let this = at(L, 1);
        if !this.is_null() {
            (*this).clear();
        }
    }
    0
}

/// `buffer()`: an empty queue.
pub(super) unsafe extern "C-unwind" fn buffer(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the userdata is as large as the value written.
    unsafe {
        let this = lua_newuserdatauv(L, size_of::<Buffer>(), 0).cast::<Buffer>();
        this.write(Buffer::new());
        if lua_rawgetp(L, LUA_REGISTRYINDEX, key(&META)) != LUA_TTABLE {
            lua_settop(L, -2);
            lua_createtable(L, 0, 1);
            lua_pushcfunction(L, collect);
            lua_setfield(L, -2, c"__gc".as_ptr());
            lua_pushvalue(L, -1);
            lua_rawsetp(L, LUA_REGISTRYINDEX, key(&META));
        }
        lua_setmetatable(L, -2);
    }
    1
}

/// `push(buf, pool, ptr, sz)`: appends a block, which it takes over; the size then.
pub(super) unsafe extern "C-unwind" fn push(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us. The caller of the Lua function vouches for the
    // block, as upstream's contract says.
    unsafe {
        let this = check(L, b"need buffer object at param 1");
        if lua_type(L, 3) != LUA_TLIGHTUSERDATA || lua_touserdata(L, 3).is_null() {
            raise(L, b"need message block at param 3");
        }
        let size = luaL_checkinteger(L, 4);
        let Ok(size) = usize::try_from(size) else {
            return luaL_argerror(L, 4, c"invalid size".as_ptr());
        };
        let block = lua_touserdata(L, 3).cast::<u8>();
        if !(*this).push(block, size) {
            libc::free(block.cast());
            raise(L, b"not enough memory");
        }
        lua_pushinteger(L, (*this).len() as lua_Integer);
    }
    1
}

/// `pop(buf, pool, n)`: the first n bytes or nil, and what is left.
pub(super) unsafe extern "C-unwind" fn pop(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the bytes are consumed after the push, which may raise.
    unsafe {
        let this = check(L, b"Need buffer object at param 1");
        let wanted = luaL_checkinteger(L, 3);
        let have = (*this).len();
        match usize::try_from(wanted) {
            Ok(size) if size > 0 && size <= have => {
                push_bytes(L, &(*this).bytes()[..size]);
                (*this).consume(size);
            }
            _ => lua_pushnil(L),
        }
        lua_pushinteger(L, (*this).len() as lua_Integer);
    }
    2
}

/// `readall(buf, pool)`: everything.
pub(super) unsafe extern "C-unwind" fn readall(L: *mut lua_State) -> c_int {
    // SAFETY: as `pop`.
    unsafe {
        let this = check(L, b"Need buffer object at param 1");
        push_bytes(L, (*this).bytes());
        (*this).clear();
    }
    1
}

/// `readline(buf, pool, sep)`: the first line without its separator, or nothing.
/// With a pool that is no table: true if there is a line.
pub(super) unsafe extern "C-unwind" fn readline(L: *mut lua_State) -> c_int {
    // SAFETY: as `pop`; the separator stays on the stack.
    unsafe {
        let this = check(L, b"Need buffer object at param 1");
        let mut length = 0;
        let text = luaL_checklstring(L, 3, &mut length);
        let separator = std::slice::from_raw_parts(text.cast::<u8>(), length);
        let take = lua_type(L, 2) == LUA_TTABLE;
        let line = if separator.is_empty() {
            Some(0)
        } else {
            (*this).line(separator)
        };
        let Some(line) = line else { return 0 };
        if !take {
            lua_pushboolean(L, 1);
            return 1;
        }
        push_bytes(L, &(*this).bytes()[..line]);
        if !separator.is_empty() {
            (*this).consume(line + separator.len());
        }
    }
    1
}

/// `clear(buf, pool)`: drops everything; nothing to do for nil.
pub(super) unsafe extern "C-unwind" fn clear(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        let this = at(L, 1);
        if !this.is_null() {
            (*this).clear();
        } else if lua_type(L, 1) > LUA_TNIL {
            raise(L, b"Need buffer object at param 1");
        }
    }
    0
}

/// `drop(ptr, sz)`: frees a data block.
pub(super) unsafe extern "C-unwind" fn drop_block(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the block is the caller's to free (contract).
    unsafe {
        let block = lua_touserdata(L, 1);
        luaL_checkinteger(L, 2);
        if lua_type(L, 1) == LUA_TLIGHTUSERDATA {
            libc::free(block);
        }
    }
    0
}

/// `str2p(s)`: a malloc'ed copy and its size.
pub(super) unsafe extern "C-unwind" fn str2p(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; neither push below can raise.
    unsafe {
        let mut length = 0;
        let text = luaL_checklstring(L, 1, &mut length);
        let block: *mut c_void = libc::malloc(length.max(1));
        if block.is_null() {
            raise(L, b"not enough memory");
        }
        std::ptr::copy_nonoverlapping(text.cast::<u8>(), block.cast(), length);
        lua_pushlightuserdata(L, block);
        lua_pushinteger(L, length as lua_Integer);
    }
    2
}

/// `header(s)`: a big-endian number of 1 to 4 bytes.
pub(super) unsafe extern "C-unwind" fn header(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        let mut length = 0;
        let text = luaL_checklstring(L, 1, &mut length);
        let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length);
        if bytes.is_empty() || bytes.len() > 4 {
            return luaL_error(L, c"Invalid read %s".as_ptr(), text);
        }
        let number = bytes.iter().fold(0, |number: lua_Integer, &byte| {
            number << 8 | lua_Integer::from(byte)
        });
        lua_pushinteger(L, number);
    }
    1
}

/// The functions of this file.
pub(super) const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[
    (c"buffer", buffer),
    (c"push", push),
    (c"pop", pop),
    (c"readall", readall),
    (c"readline", readline),
    (c"clear", clear),
    (c"drop", drop_block),
    (c"str2p", str2p),
    (c"header", header),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: &[u8]) -> *mut u8 {
        // SAFETY: the block is fresh and large enough.
        unsafe {
            let block = libc::malloc(bytes.len().max(1)).cast::<u8>();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), block, bytes.len());
            block
        }
    }

    fn push(buffer: &mut Buffer, bytes: &[u8]) {
        // SAFETY: the block is ours to give.
        assert!(unsafe { buffer.push(block(bytes), bytes.len()) });
    }

    #[test]
    fn an_empty_queue_owns_no_memory() {
        let mut buffer = Buffer::new();
        push(&mut buffer, b"hello");
        assert_eq!(buffer.bytes(), b"hello");
        buffer.consume(5);
        assert!(buffer.data.is_null());
        push(&mut buffer, b"");
        push(&mut buffer, b"x");
        assert_eq!(buffer.bytes(), b"x");
        buffer.clear();
    }

    #[test]
    fn pieces_and_lines_agree_with_a_plain_vector() {
        let mut buffer = Buffer::new();
        let mut model: Vec<u8> = Vec::new();
        let mut seed = 1_u32;
        let mut next = |bound: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % bound
        };
        for _ in 0..20_000 {
            let piece: Vec<u8> = (0..next(40)).map(|_| b"ab\r\n"[next(4) as usize]).collect();
            push(&mut buffer, &piece);
            model.extend(&piece);
            for separator in [&b"\n"[..], b"\r\n", b"\n\n\n\n\n\n\n\n\n"] {
                let expected = model
                    .windows(separator.len())
                    .position(|window| window == separator);
                assert_eq!(buffer.line(separator), expected);
                if let Some(line) = expected.filter(|_| next(3) == 0) {
                    buffer.consume(line + separator.len());
                    model.drain(..line + separator.len());
                }
            }
            assert_eq!(buffer.bytes(), model);
            if model.len() > 4000 {
                let count = next(4000) as usize;
                buffer.consume(count);
                model.drain(..count);
            }
        }
        buffer.clear();
    }

    #[test]
    fn separators_have_different_keys() {
        let all: [&[u8]; 6] = [
            b"\n",
            b"\0\n",
            b"\r\n",
            b"\r\n\r\n",
            b"12345678",
            b"12345679",
        ];
        let mut keys: Vec<u64> = all.iter().map(|s| separator_key(s)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all.len());
    }
}
