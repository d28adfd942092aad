//! Lua host: VMs, the service module `snlua`, and the native Lua libraries.
//!
//! [`vm`] has what every native function needs to know; [`seri`] is the codec
//! of Lua values.

mod alloc;
pub mod ffi;
mod host;
mod interrupt;
pub mod seri;
pub mod skynet;
pub mod vm;

pub use host::LuaHost;
