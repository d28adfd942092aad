//! The border to other nodes: messages for remote handles and global names go
//! to the harbor service, as upstream's `remote_message` (spec/01-core.md §19.5, §20).

use std::sync::atomic::Ordering;

use crate::message::{Handle, Message, ptype};
use crate::node::Node;
use crate::payload::{MallocBlock, Payload};
use crate::send::{self, SendError};

/// Bytes of a global name; a name this long is not NUL-terminated.
pub const NAME_LENGTH: usize = 16;

/// Where a remote message goes: a global name, or a handle (then the name is empty).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The name, filled up with NULs.
    pub name: [u8; NAME_LENGTH],
    /// The handle.
    pub handle: Handle,
}

/// A message on its way to another node, as the harbor service gets it.
#[derive(Debug)]
pub struct RemoteMessage {
    /// Where it goes.
    pub destination: Destination,
    /// Its type.
    pub kind: u8,
    /// Its bytes.
    pub payload: Payload,
}

/// Size of the C record.
const RECORD: usize = 48;

/// Wraps `message` and queues it to the harbor service.
pub(crate) fn send(
    node: &Node,
    destination: Destination,
    message: Message,
) -> Result<(), SendError> {
    let harbor = node.harbor_service.load(Ordering::Acquire);
    let kind = message.kind();
    if harbor == 0 || !send::may_leave(kind) {
        return Err(SendError::NoHarbor);
    }
    let (source, session) = (message.source, message.session);
    let (data, size) = message.payload.into_malloc();
    let mut record = MallocBlock::zeroed(RECORD);
    let bytes = record.as_mut_slice();
    bytes[0..16].copy_from_slice(&destination.name);
    bytes[16..20].copy_from_slice(&destination.handle.to_ne_bytes());
    bytes[24..32].copy_from_slice(&(data as usize).to_ne_bytes());
    bytes[32..40].copy_from_slice(&size.to_ne_bytes());
    bytes[40..44].copy_from_slice(&i32::from(kind).to_ne_bytes());
    let (pointer, size) = record.into_raw();
    // SAFETY: the record is a malloc block of RECORD bytes; `free_record` frees it with the data it owns.
    let payload = unsafe { Payload::foreign(pointer, size, free_record) };
    let message = Message::new(source, session, ptype::SYSTEM, payload);
    node.push(harbor, message).map_err(|_| SendError::NoHarbor)
}

/// Frees a record and the data block it points to.
unsafe fn free_record(pointer: *mut u8, _size: usize) {
    // SAFETY: called once by the payload made in `send`: the record is RECORD
    // bytes, and offset 24 holds NULL or a malloc block that it owns.
    unsafe {
        let data = pointer.add(24).cast::<usize>().read_unaligned();
        libc::free(data as *mut libc::c_void);
        libc::free(pointer.cast());
    }
}

impl RemoteMessage {
    /// Reads the record out of a message that the harbor service received with type
    /// SYSTEM; `None` if it is none.
    pub fn from_message(message: Message) -> Option<Self> {
        let bytes = message.payload.as_slice();
        if message.kind() != ptype::SYSTEM || bytes.len() != RECORD {
            return None;
        }
        let word = |at: usize| {
            Some(usize::from_ne_bytes(
                bytes.get(at..at + 8)?.try_into().ok()?,
            ))
        };
        let destination = Destination {
            name: bytes[0..16].try_into().ok()?,
            handle: u32::from_ne_bytes(bytes[16..20].try_into().ok()?),
        };
        let (data, size) = (word(24)?, word(32)?);
        let kind = i32::from_ne_bytes(bytes[40..44].try_into().ok()?) as u8;
        // The record is consumed by hand: its data goes to the new payload.
        let (pointer, _) = message.payload.into_record()?;
        // SAFETY: the record was made by `send`, so offset 24 is a malloc block
        // of `size` bytes or NULL, owned by the record, which is freed here without it.
        let payload = unsafe {
            libc::free(pointer.cast());
            Payload::from_malloc(data as *mut libc::c_void, size)
        };
        Some(Self {
            destination,
            kind,
            payload,
        })
    }
}

impl Payload {
    /// The pointer of a record made by [`send`], which the caller frees; `None` for other payloads.
    fn into_record(self) -> Option<(*mut u8, usize)> {
        self.into_foreign(free_record)
    }
}
