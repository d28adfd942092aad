//! Sending: local handles, remote handles, names (spec/01-core.md §4.3, §4.4).

use std::fmt;

use crate::context::Context;
use crate::env::sign_and_digits;
use crate::harbor;
use crate::message::{Handle, Message, ptype};
use crate::node::Node;
use crate::payload::Payload;

/// The largest payload a message can have.
pub const MAX_SIZE: usize = (1 << 56) - 1;

/// Why a message was not delivered. The payload has been freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// No such service on this node, or a name nobody has (upstream: -1).
    Dead,
    /// More than [`MAX_SIZE`] bytes (upstream: -2).
    TooLarge,
    /// The destination is handle 0.
    NoDestination,
    /// The destination is on another node and this one has no harbor service, or the
    /// message type may not leave the node (upstream aborts).
    NoHarbor,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dead => "the destination is dead",
            Self::TooLarge => "the message is too large",
            Self::NoDestination => "the destination address is 0",
            Self::NoHarbor => "the destination is on another node, which cannot be reached",
        })
    }
}

impl std::error::Error for SendError {}

/// An address in text form (spec/01-core.md §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address<'a> {
    /// `:hex`
    Handle(Handle),
    /// `.name`, without its dot.
    Local(&'a [u8]),
    /// Any other text.
    Global(&'a [u8]),
}

impl<'a> Address<'a> {
    /// Tells the forms apart; never fails.
    pub fn parse(text: &'a [u8]) -> Self {
        match text {
            [b':', hex @ ..] => Self::Handle(parse_hex(hex)),
            [b'.', name @ ..] => Self::Local(name),
            other => Self::Global(other),
        }
    }
}

/// C's `strtoul(text, NULL, 16)`, cut to 32 bits.
pub fn parse_hex(text: &[u8]) -> Handle {
    let (negative, mut rest) = sign_and_digits(text);
    if let [b'0', b'x' | b'X', digit, ..] = rest
        && digit.is_ascii_hexdigit()
    {
        rest = &rest[2..];
    }
    let mut value: u64 = 0;
    for &byte in rest {
        let Some(digit) = (byte as char).to_digit(16) else {
            break;
        };
        let Some(more) = value.checked_mul(16) else {
            // Too large: ULONG_MAX, whatever the sign.
            return u32::MAX;
        };
        value = more + u64::from(digit);
    }
    if negative {
        value = value.wrapping_neg();
    }
    value as u32
}

pub(crate) fn to_handle(
    context: &Context,
    destination: Handle,
    source: Handle,
    kind: u8,
    session: i32,
    payload: Payload,
) -> Result<(), SendError> {
    if payload.len() > MAX_SIZE {
        context.log(format!(
            "error: The message to {destination:x} is too large"
        ));
        return Err(SendError::TooLarge);
    }
    if destination == 0 {
        if !payload.is_null() {
            context.log("error: Destination address can't be 0");
        }
        return Err(SendError::NoDestination);
    }
    let source = if source == 0 {
        context.handle()
    } else {
        source
    };
    let message = Message::new(source, session, kind, payload);
    deliver(context.node(), destination, message)
}

/// Delivers a message on this node or hands it to the harbor service.
pub(crate) fn deliver(node: &Node, destination: Handle, message: Message) -> Result<(), SendError> {
    if node.is_remote(destination) {
        return harbor::send(
            node,
            harbor::Destination {
                name: [0; harbor::NAME_LENGTH],
                handle: destination,
            },
            message,
        );
    }
    node.push(destination, message).map_err(|_| SendError::Dead)
}

pub(crate) fn to_name(
    context: &Context,
    address: &[u8],
    source: Handle,
    kind: u8,
    session: i32,
    payload: Payload,
) -> Result<(), SendError> {
    let name = match Address::parse(address) {
        Address::Handle(handle) => {
            return to_handle(context, handle, source, kind, session, payload);
        }
        Address::Local(name) => {
            let Some(handle) = context.node().find_name(name) else {
                return Err(SendError::Dead);
            };
            return to_handle(context, handle, source, kind, session, payload);
        }
        Address::Global(name) => name,
    };
    if payload.len() > MAX_SIZE {
        context.log(format!(
            "error: The message to {} is too large",
            String::from_utf8_lossy(name)
        ));
        return Err(SendError::TooLarge);
    }
    let source = if source == 0 {
        context.handle()
    } else {
        source
    };
    let mut destination = harbor::Destination {
        name: [0; harbor::NAME_LENGTH],
        handle: 0,
    };
    let used = name.len().min(harbor::NAME_LENGTH);
    destination.name[..used].copy_from_slice(&name[..used]);
    harbor::send(
        context.node(),
        destination,
        Message::new(source, session, kind, payload),
    )
}

/// Whether a type may leave the node.
pub(crate) fn may_leave(kind: u8) -> bool {
    kind != ptype::SYSTEM && kind != ptype::HARBOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_as_c_reads_it() {
        for (text, value) in [
            ("12zz", 0x12),
            ("00AB", 0xab),
            ("", 0),
            ("zz", 0),
            ("  0x1f", 0x1f),
            ("-1", u32::MAX),
            ("\x0b-2", u32::MAX - 1),
            ("-10000000000000000", u32::MAX),
            ("0x", 0),
            ("1ffffffff", u32::MAX),
        ] {
            assert_eq!(parse_hex(text.as_bytes()), value, "{text:?}");
        }
    }
}
