//! A record of every dispatched message, to compare runs of the deterministic driver.

use parking_lot::Mutex;

use crate::message::{Handle, Message};

/// One dispatched message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceEntry {
    /// Who sent it.
    pub source: Handle,
    /// Who got it.
    pub destination: Handle,
    /// Its type.
    pub kind: u8,
    /// Its session.
    pub session: i32,
    /// Its size in bytes.
    pub size: usize,
    /// A hash of its bytes (0 for socket messages, whose record holds an address).
    pub hash: u64,
}

/// The messages of a node in the order of their dispatch.
#[derive(Debug, Default)]
pub struct Trace(Mutex<Vec<TraceEntry>>);

impl Trace {
    pub(crate) fn record(&self, destination: Handle, message: &Message) {
        let hash = if message.payload.socket_data().is_some() {
            0
        } else {
            fnv(message.payload.as_slice())
        };
        self.0.lock().push(TraceEntry {
            source: message.source,
            destination,
            kind: message.kind(),
            session: message.session,
            size: message.payload.len(),
            hash,
        });
    }

    /// What was recorded so far.
    pub fn entries(&self) -> Vec<TraceEntry> {
        self.0.lock().clone()
    }
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
