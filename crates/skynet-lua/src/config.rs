//! The configuration of a node: a Lua chunk (spec/01-core.md §1.2).

use std::ffi::{OsString, c_int};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::ffi::*;

/// Keys and values.
pub type Settings = Vec<(Vec<u8>, Vec<u8>)>;

/// Why a configuration could not be read. The texts are upstream's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file is missing or is no configuration.
    Script(String),
    /// No memory for a Lua VM.
    Memory,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(text) => f.write_str(text),
            Self::Memory => f.write_str("not enough memory"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The Lua part.
const SCRIPT: &[u8] = include_bytes!("config.lua");

/// What the protected part needs.
struct Job {
    path: Vec<u8>,
    environment: Vec<(OsString, OsString)>,
}

/// Reads a configuration file, with `$NAME` replaced from the process's environment.
///
/// # Errors
/// See [`ConfigError`].
pub fn load(path: impl AsRef<Path>) -> Result<Settings, ConfigError> {
    load_with(path, std::env::vars_os())
}

/// As [`load`], with these environment variables.
///
/// # Errors
/// See [`ConfigError`].
pub fn load_with(
    path: impl AsRef<Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Settings, ConfigError> {
    let mut job = Job {
        path: path.as_ref().as_os_str().to_owned().into_vec(),
        environment: environment.into_iter().collect(),
    };
    // SAFETY: a VM of our own, used here only and closed. Everything that may
    // raise runs in `run`, which is protected; `job` outlives it. After it only
    // calls that neither raise nor allocate.
    unsafe {
        let L = luaL_newstate();
        if L.is_null() {
            return Err(ConfigError::Memory);
        }
        lua_pushcfunction(L, run);
        lua_pushlightuserdata(L, (&raw mut job).cast());
        let status = lua_pcall(L, 1, 1, 0);
        let result = if status == LUA_OK {
            Ok(read_list(L))
        } else {
            let text = string_at(L, -1).unwrap_or(b"(error object is not a string)");
            Err(ConfigError::Script(
                String::from_utf8_lossy(text).into_owned(),
            ))
        };
        lua_close(L);
        result
    }
}

/// The keys and values in the list on the top.
unsafe fn read_list(L: *mut lua_State) -> Settings {
    let mut settings = Vec::new();
    // SAFETY: `run` has returned a table of strings; raw reads do not raise,
    // and a VM that has run has the two slots.
    unsafe {
        let text_at = |i: usize| {
            lua_rawgeti(L, -1, i as lua_Integer);
            let text = string_at(L, -1).unwrap_or_default().to_vec();
            lua_settop(L, -2);
            text
        };
        let count = lua_rawlen(L, -1);
        let mut at = 1;
        while at < count {
            settings.push((text_at(at), text_at(at + 1)));
            at += 2;
        }
    }
    settings
}

/// Runs the script; returns its list.
unsafe extern "C-unwind" fn run(L: *mut lua_State) -> c_int {
    // SAFETY: called through lua_pcall with a pointer to a live Job, from
    // which slices are borrowed that an error leaves in place.
    unsafe {
        let job = lua_touserdata(L, 1).cast::<Job>();
        luaL_openselectedlibs(L, !0, 0);
        let status = luaL_loadbufferx(
            L,
            SCRIPT.as_ptr().cast(),
            SCRIPT.len(),
            c"=[skynet config]".as_ptr(),
            c"t".as_ptr(),
        );
        if status != LUA_OK {
            lua_error(L);
        }
        push_bytes(L, &(*job).path);
        lua_createtable(L, 0, 0);
        for (name, value) in &(*job).environment {
            push_bytes(L, name.as_bytes());
            push_bytes(L, value.as_bytes());
            lua_rawset(L, -3);
        }
        lua_callk(L, 2, 1, 0, None);
    }
    1
}
