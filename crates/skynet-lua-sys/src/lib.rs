//! Lua 5.5.1 as C code, edited so that VMs share compiled code and names, and
//! the declarations of its C API.
//!
//! The declarations of the stock API are those of `mlua-sys`; [`skl`] declares
//! what this crate adds. The library itself is compiled by the build script.
//! `README.md` has the rules that make the sharing sound.

pub use mlua_sys::*;

pub mod skl;
mod space;

pub use skl::*;
pub use space::Space;
