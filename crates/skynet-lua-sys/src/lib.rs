//! Lua 5.5.1 as C code, and the declarations of its C API.
//!
//! The declarations are those of `mlua-sys`; the library itself is compiled by
//! this crate's build script.

pub use mlua_sys::*;
