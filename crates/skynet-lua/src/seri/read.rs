//! Reading the format: a cursor that gives one item after the other.

use super::{SIZE_FOLLOWS, tag, width};

/// Malformed bytes. `line` names the place, as in upstream's error text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid {
    /// Bytes not yet consumed.
    pub left: usize,
    /// Which rule was broken (spec/01-core.md §17.2).
    pub line: u32,
}

/// What starts at a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    /// nil
    Nil,
    /// A boolean.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A float.
    Real(f64),
    /// A light userdata.
    Pointer(u64),
    /// A string.
    String(&'a [u8]),
    /// A table whose array part has this many elements (negative sizes read as 0).
    Table(u32),
}

/// The place in the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all bytes are consumed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes not yet consumed.
    #[inline]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// A value that must be there: `missing` is the line if there are no more bytes.
    #[inline]
    pub fn item_or(&mut self, missing: u32) -> Result<Item<'a>, Invalid> {
        let Some((&first, rest)) = self.rest.split_first() else {
            return Err(self.invalid(missing));
        };
        self.rest = rest;
        self.after(first)
    }

    /// A value inside a table.
    #[inline]
    pub fn inner(&mut self) -> Result<Item<'a>, Invalid> {
        self.item_or(538)
    }

    #[inline]
    fn after(&mut self, first: u8) -> Result<Item<'a>, Invalid> {
        let cookie = first >> 3;
        match first & 7 {
            tag::NIL => Ok(Item::Nil),
            tag::BOOLEAN => Ok(Item::Boolean(cookie != 0)),
            tag::NUMBER if cookie == width::REAL => Ok(Item::Real(f64::from_bits(
                u64::from_le_bytes(self.take(417)?),
            ))),
            tag::NUMBER => Ok(Item::Integer(self.integer(cookie)?)),
            tag::POINTER => Ok(Item::Pointer(u64::from_le_bytes(self.take(427)?))),
            tag::SHORT => Ok(Item::String(self.bytes(cookie as usize)?)),
            tag::LONG => {
                let len = match cookie {
                    2 => u16::from_le_bytes(self.take(503)?) as usize,
                    4 => u32::from_le_bytes(self.take(514)?) as usize,
                    _ => return Err(self.invalid(510)),
                };
                Ok(Item::String(self.bytes(len)?))
            }
            tag::TABLE => Ok(Item::Table(self.size(cookie)?)),
            _ => Err(self.invalid(527)),
        }
    }

    #[inline]
    fn integer(&mut self, cookie: u8) -> Result<i64, Invalid> {
        match cookie {
            width::ZERO => Ok(0),
            width::BYTE => Ok(i64::from(u8::from_le_bytes(self.take(378)?))),
            width::WORD => Ok(i64::from(u16::from_le_bytes(self.take(386)?))),
            width::DWORD => Ok(i64::from(i32::from_le_bytes(self.take(394)?))),
            width::QWORD => Ok(i64::from_le_bytes(self.take(402)?)),
            _ => Err(self.invalid(407)),
        }
    }

    /// The array size of a table.
    #[inline]
    fn size(&mut self, cookie: u8) -> Result<u32, Invalid> {
        if cookie != SIZE_FOLLOWS {
            return Ok(u32::from(cookie));
        }
        let Some((&first, rest)) = self.rest.split_first() else {
            return Err(self.invalid(450));
        };
        self.rest = rest;
        let cookie = first >> 3;
        if first & 7 != tag::NUMBER || cookie == width::REAL {
            return Err(self.invalid(455));
        }
        // Cut to 32 bits, as upstream; what is not positive means none.
        Ok((self.integer(cookie)? as i32).max(0) as u32)
    }

    #[inline]
    fn take<const N: usize>(&mut self, line: u32) -> Result<[u8; N], Invalid> {
        match self.rest.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(*bytes)
            }
            None => Err(self.invalid(line)),
        }
    }

    #[inline]
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], Invalid> {
        match self.rest.split_at_checked(len) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.invalid(437)),
        }
    }

    #[cold]
    fn invalid(&self, line: u32) -> Invalid {
        Invalid {
            left: self.rest.len(),
            line,
        }
    }
}
