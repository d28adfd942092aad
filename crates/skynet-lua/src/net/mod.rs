//! The native network modules: `skynet.socketdriver`, `skynet.netpack`, and
//! `client.socket` for scripts outside of a node.
//!
//! The sockets themselves and the framing are in `skynet-net`; here are their
//! Lua faces.

mod address;
mod buffer;
mod client;
mod driver;
mod netpack;
mod owned;
mod record;
mod send;
#[cfg(test)]
mod sweep;

pub(crate) use client::luaopen as luaopen_client_socket;
pub(crate) use driver::luaopen as luaopen_socketdriver;
pub(crate) use netpack::luaopen as luaopen_netpack;
