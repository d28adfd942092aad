//! A plain Lua script outside of any service: `skynet lua FILE ARG ...`.

use std::ffi::{CStr, CString, c_int, c_void};

use crate::embed;
use crate::ffi::*;

/// Native modules that need no service: what a client script may require.
const MODULES: &[(&CStr, lua_CFunction)] = &[(c"client.socket", crate::net::luaopen_client_socket)];

/// What the script gets.
struct Job<'a> {
    file: &'a CStr,
    args: &'a [CString],
}

/// Runs `file` with `args` as `...` and in the table `arg`; the standard
/// libraries and the client-side modules can be required.
///
/// # Errors
/// The error message with its traceback.
pub fn run(file: &CStr, args: &[CString]) -> Result<(), String> {
    let mut job = Job { file, args };
    // SAFETY: a fresh state, used by this thread only and closed once; `job`
    // outlives the call; everything that may raise runs in the protected call.
    unsafe {
        let L = luaL_newstate();
        if L.is_null() {
            return Err("not enough memory".to_owned());
        }
        lua_pushcfunction(L, traceback);
        lua_pushcfunction(L, body);
        lua_pushlightuserdata(L, (&raw mut job).cast::<c_void>());
        let status = lua_pcall(L, 1, 0, 1);
        let result = if status == LUA_OK {
            Ok(())
        } else {
            let text = string_at(L, -1).unwrap_or(b"(no error message)");
            Err(String::from_utf8_lossy(text).into_owned())
        };
        lua_close(L);
        result
    }
}

/// Makes the error object text with a traceback.
unsafe extern "C-unwind" fn traceback(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us with the error object.
    unsafe {
        let text = luaL_tolstring(L, 1, std::ptr::null_mut());
        luaL_traceback(L, L, text, 1);
    }
    1
}

unsafe extern "C-unwind" fn body(L: *mut lua_State) -> c_int {
    // SAFETY: `run` called us with its job; nothing here has a destructor.
    unsafe {
        let job = &*lua_touserdata(L, 1).cast::<Job>();
        luaL_openlibs(L);
        luaL_getsubtable(L, LUA_REGISTRYINDEX, c"_PRELOAD".as_ptr());
        for (name, open) in MODULES {
            lua_pushcfunction(L, *open);
            lua_setfield(L, -2, name.as_ptr());
        }
        lua_settop(L, 1);
        let count = c_int::try_from(job.args.len()).unwrap_or(c_int::MAX);
        luaL_checkstack(L, count.saturating_add(4), c"too many arguments".as_ptr());
        lua_createtable(L, count, 1);
        lua_pushstring(L, job.file.as_ptr());
        lua_rawseti(L, -2, 0);
        for (index, argument) in (1..).zip(job.args) {
            lua_pushstring(L, argument.as_ptr());
            lua_rawseti(L, -2, index);
        }
        lua_setglobal(L, c"arg".as_ptr());
        if load(L, job.file) != LUA_OK {
            lua_error(L);
        }
        for argument in job.args {
            lua_pushstring(L, argument.as_ptr());
        }
        lua_call(L, count, 0);
    }
    0
}

/// Pushes the function of the script, or a message, and returns the status. A
/// file that is missing may be one of the executable's own (`examples/client.lua`).
unsafe fn load(L: *mut lua_State, file: &CStr) -> c_int {
    // SAFETY: `body` calls us with free slots; the name and the text live for ever or long enough.
    unsafe {
        let name = file.to_bytes();
        let Some(own) = embed::find_tail(name).filter(|_| !embed::exists(name)) else {
            return luaL_loadfile(L, file.as_ptr());
        };
        let chunk = lua_pushfstring(L, c"@%s".as_ptr(), file.as_ptr());
        let (text, size) = (own.text.as_ptr().cast(), own.text.len());
        let status = luaL_loadbufferx(L, text, size, chunk, c"t".as_ptr());
        lua_replace(L, -2);
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str, args: &[&str]) -> Result<(), String> {
        let dir = std::env::temp_dir().join(format!(
            "skynet-script-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        let path = dir.join("script.lua");
        std::fs::write(&path, text).expect("a script");
        let file = CString::new(path.to_str().expect("a name")).expect("no NUL");
        let args: Vec<CString> = args
            .iter()
            .map(|arg| CString::new(*arg).expect("no NUL"))
            .collect();
        let result = run(&file, &args);
        std::fs::remove_dir_all(&dir).expect("cleaned up");
        result
    }

    #[test]
    fn a_script_gets_its_arguments_twice() {
        let text = "local a, b = ...; assert(a == 'x' and b == 'y z' and arg[2] == b and arg[0])";
        assert_eq!(script(text, &["x", "y z"]), Ok(()));
    }

    #[test]
    fn an_error_has_text_and_traceback() {
        let error = script("local function f() error('boom') end f()", &[]).expect_err("it fails");
        assert!(error.contains(":1: boom\nstack traceback:"), "{error}");
        let error = script("x = = 1", &[]).expect_err("it fails");
        assert!(error.contains("unexpected symbol near '='"), "{error}");
        let error = script(
            "error(setmetatable({}, {__tostring = function() return 'T' end}))",
            &[],
        );
        assert!(error.expect_err("it fails").starts_with("T\nstack"));
    }
}
