//! Writing the format: each function appends one value's bytes.
//!
//! The buffer grows by `try_reserve`, so that a value that is too large for
//! the memory is an error and not the end of the process.

use super::{SIZE_FOLLOWS, tag, width};

/// There is no memory for more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMemory;

/// The result of each writer.
pub type Written = Result<(), NoMemory>;

const fn head(kind: u8, cookie: u8) -> u8 {
    kind | cookie << 3
}

#[inline]
fn append<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) -> Written {
    if out.capacity() - out.len() < N {
        grow(out, N)?;
    }
    out.extend_from_slice(&bytes);
    Ok(())
}

#[cold]
fn grow(out: &mut Vec<u8>, more: usize) -> Written {
    out.try_reserve(more.max(256)).map_err(|_| NoMemory)
}

/// nil, also the end of a table.
#[inline]
pub fn nil(out: &mut Vec<u8>) -> Written {
    append(out, [head(tag::NIL, 0)])
}

/// A boolean.
#[inline]
pub fn boolean(out: &mut Vec<u8>, value: bool) -> Written {
    append(out, [head(tag::BOOLEAN, value as u8)])
}

/// An integer, in the fewest bytes that the format has for it.
#[inline]
pub fn integer(out: &mut Vec<u8>, value: i64) -> Written {
    match value {
        0 => append(out, [head(tag::NUMBER, width::ZERO)]),
        1..=0xff => append(out, [head(tag::NUMBER, width::BYTE), value as u8]),
        0x100..=0xffff => {
            let [a, b] = (value as u16).to_le_bytes();
            append(out, [head(tag::NUMBER, width::WORD), a, b])
        }
        _ => match i32::try_from(value) {
            Ok(value) => {
                let [a, b, c, d] = value.to_le_bytes();
                append(out, [head(tag::NUMBER, width::DWORD), a, b, c, d])
            }
            Err(_) => wide(out, width::QWORD, value.to_le_bytes()),
        },
    }
}

/// A float.
#[inline]
pub fn real(out: &mut Vec<u8>, value: f64) -> Written {
    wide(out, width::REAL, value.to_bits().to_le_bytes())
}

#[inline]
fn wide(out: &mut Vec<u8>, cookie: u8, b: [u8; 8]) -> Written {
    append(
        out,
        [
            head(tag::NUMBER, cookie),
            b[0],
            b[1],
            b[2],
            b[3],
            b[4],
            b[5],
            b[6],
            b[7],
        ],
    )
}

/// A light userdata.
#[inline]
pub fn pointer(out: &mut Vec<u8>, value: u64) -> Written {
    append(out, [head(tag::POINTER, 0)])?;
    append(out, value.to_le_bytes())
}

/// Why a string cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringError {
    /// No memory.
    NoMemory,
    /// More than `u32::MAX` bytes: the format has no width for the length.
    TooLong,
}

impl From<NoMemory> for StringError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

/// A string.
#[inline]
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), StringError> {
    let len = bytes.len();
    if out.capacity() - out.len() < len + 5 {
        grow(out, len + 5)?;
    }
    if len < 32 {
        out.push(head(tag::SHORT, len as u8));
    } else if len < 0x10000 {
        out.push(head(tag::LONG, 2));
        out.extend_from_slice(&(len as u16).to_le_bytes());
    } else {
        let Ok(len) = u32::try_from(len) else {
            return Err(StringError::TooLong);
        };
        out.push(head(tag::LONG, 4));
        out.extend_from_slice(&len.to_le_bytes());
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// The start of a table with `n` array elements. They, the pairs and a nil follow.
#[inline]
pub fn table(out: &mut Vec<u8>, n: u32) -> Written {
    if n < u32::from(SIZE_FOLLOWS) {
        append(out, [head(tag::TABLE, n as u8)])
    } else {
        append(out, [head(tag::TABLE, SIZE_FOLLOWS)])?;
        integer(out, i64::from(n))
    }
}
