//! Lua host.
