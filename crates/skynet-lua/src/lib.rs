//! Lua host: VMs, the service module `snlua`, and the native Lua libraries.
//!
//! [`install`] makes a node able to run Lua services. [`vm`] has what every
//! native function needs to know; [`seri`] is the codec of Lua values.

// Lua's own name for a Lua thread, in its API and in every text about it.
#![allow(non_snake_case)]

mod alloc;
pub mod callback;
pub mod config;
mod embed;
mod external;
pub mod ffi;
mod fixed;
mod harbor_single;
mod host;
mod idle;
mod install;
mod interrupt;
mod lib_codecache;
mod lib_core;
mod lib_debugchannel;
mod lib_memory;
mod lib_profile;
mod lib_trace;
mod modules;
mod net;
pub mod script;
pub mod seri;
pub mod skynet;
mod snlua;
#[cfg(test)]
mod sweep;
pub mod vm;

pub use host::LuaHost;
pub use install::install;
