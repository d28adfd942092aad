//! The sockets of a skynet node (spec/03-network.md §1): ids, the state machine,
//! ordered writes with two priorities, socket messages.
//!
//! One thread waits for readiness, reads and accepts; writes go out on the
//! worker that sends. Start at [`Net`]. [`netpack`] is the framing that game clients use.

#![deny(unsafe_code)]

mod event;
mod info;
mod io;
mod mem;
mod net;
pub mod netpack;
#[allow(unsafe_code)]
mod os;
mod outbox;
#[allow(unsafe_code)]
mod resolve;
mod socket;
mod table;
mod thread;
mod write;

pub use info::{SocketInfo, SocketKind};
pub use net::{Net, NetError};
pub use socket::kind;
