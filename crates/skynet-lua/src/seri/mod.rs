//! The format in which Lua values travel between services
//! (spec/01-core.md §17): `skynet.pack` and `skynet.unpack`.
//!
//! [`write`] and [`read`] know the bytes and nothing of Lua, [`pack`] and
//! [`unpack`] move values between the bytes and a Lua stack, [`value`] is a
//! plain Rust face of the format for tests and fuzzing.
//!
//! ```text
//! first byte: low 3 bits type, high 5 bits cookie
//! 0 nil | 1 boolean (cookie) | 2 number (cookie: width) | 3 pointer
//! 4 short string (cookie: length) | 5 long string (cookie: width of length)
//! 6 table (cookie: array size, or 31: size follows), elements, pairs, nil
//! ```

mod pack;
pub mod read;
mod unpack;
pub mod value;
pub mod write;

pub use pack::{PackError, pack_from_stack};
pub use unpack::{UnpackError, unpack_to_stack};

/// Type numbers, the low 3 bits of a first byte.
pub(crate) mod tag {
    pub(crate) const NIL: u8 = 0;
    pub(crate) const BOOLEAN: u8 = 1;
    pub(crate) const NUMBER: u8 = 2;
    pub(crate) const POINTER: u8 = 3;
    pub(crate) const SHORT: u8 = 4;
    pub(crate) const LONG: u8 = 5;
    pub(crate) const TABLE: u8 = 6;
}

/// Cookies of numbers.
pub(crate) mod width {
    pub(crate) const ZERO: u8 = 0;
    pub(crate) const BYTE: u8 = 1;
    pub(crate) const WORD: u8 = 2;
    pub(crate) const DWORD: u8 = 4;
    pub(crate) const QWORD: u8 = 6;
    pub(crate) const REAL: u8 = 8;
}

/// The array size that means "the size follows as an integer".
pub(crate) const SIZE_FOLLOWS: u8 = 31;

/// The deepest a value may be packed; top-level values have depth 0.
pub const MAX_DEPTH: u32 = 32;
