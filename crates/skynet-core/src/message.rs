//! Messages and their types (spec/01-core.md §4).

use crate::payload::Payload;

/// A service's address: harbor id in the top 8 bits, index below. 0 is "nobody".
pub type Handle = u32;

/// Message types (spec/01-core.md §4.2). Every value of a byte can be sent.
pub mod ptype {
    /// Text; the log service's lines.
    pub const TEXT: u8 = 0;
    /// An answer, or a timer that has expired (then the source is 0).
    pub const RESPONSE: u8 = 1;
    /// Published by `multicast`.
    pub const MULTICAST: u8 = 2;
    /// From a game client, and exit notices to the monitor service.
    pub const CLIENT: u8 = 3;
    /// From the runtime itself.
    pub const SYSTEM: u8 = 4;
    /// Between the harbor service and the runtime.
    pub const HARBOR: u8 = 5;
    /// A socket event.
    pub const SOCKET: u8 = 6;
    /// A request that failed; the payload may hold the cause as text.
    pub const ERROR: u8 = 7;
    /// `skynet.mqueue`.
    pub const QUEUE: u8 = 8;
    /// Debug requests, which every Lua service answers.
    pub const DEBUG: u8 = 9;
    /// Lua values in the format of spec/01-core.md §17.
    pub const LUA: u8 = 10;
    /// snax requests.
    pub const SNAX: u8 = 11;
    /// The trace tag of the request that follows.
    pub const TRACE: u8 = 12;
}

/// One message. Its place in a mailbox is 40 bytes.
#[derive(Debug)]
#[repr(C)]
pub struct Message {
    /// Who sent it; 0 = the runtime (timer, socket, signal).
    pub source: Handle,
    /// Links an answer to its request; 0 = no answer wanted.
    pub session: i32,
    /// The bytes.
    pub payload: Payload,
}

impl Message {
    /// A message of type `kind` (see [`ptype`]).
    pub fn new(source: Handle, session: i32, kind: u8, mut payload: Payload) -> Self {
        payload.kind = kind;
        Self {
            source,
            session,
            payload,
        }
    }

    /// The message type, one of [`ptype`] or a user's own.
    pub fn kind(&self) -> u8 {
        self.payload.kind
    }
}
