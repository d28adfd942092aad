//! A VM for tests: runs Lua text, owns its state, closes it.
#![allow(dead_code)]

use std::ffi::{CStr, CString, c_int};
use std::ptr;

use skynet_lua_sys::*;

pub struct Vm {
    pub l: *mut lua_State,
}

// SAFETY: a VM may move between threads; it is used by one at a time, as `Vm`
// is not `Sync`.
unsafe impl Send for Vm {}

impl Vm {
    /// A VM of the space, with all libraries and `codecache`.
    pub fn new(space: &Space) -> Vm {
        let vm = Vm::bare(space);
        // SAFETY: a fresh state; opening libraries fails only without memory.
        unsafe {
            luaL_openlibs(vm.l);
            luaopen_cache(vm.l);
            lua_setglobal(vm.l, c"codecache".as_ptr());
        }
        vm
    }

    /// A VM of the space without libraries.
    pub fn bare(space: &Space) -> Vm {
        // SAFETY: the tests keep the space alive longer than their VMs.
        let l = unsafe { skl_newvm(space.as_ptr(), skl_alloc, ptr::null_mut()) };
        assert!(!l.is_null());
        Vm { l }
    }

    /// A VM that shares nothing.
    pub fn foreign() -> Vm {
        // SAFETY: no preconditions.
        let l = unsafe { luaL_newstate() };
        assert!(!l.is_null());
        // SAFETY: a fresh state.
        unsafe { luaL_openlibs(l) };
        Vm { l }
    }

    /// Runs Lua text (never cached): its results as text, or the message.
    pub fn eval(&self, code: &str) -> Result<String, String> {
        // SAFETY: the text is read up to its length; `finish` takes the rest.
        let status = unsafe {
            luaL_loadbufferx(
                self.l,
                code.as_ptr().cast(),
                code.len(),
                c"=eval".as_ptr(),
                ptr::null(),
            )
        };
        self.finish(status)
    }

    /// Runs an embedded source through the cache.
    pub fn embedded(&self, key: &str, code: &str) -> Result<String, String> {
        let status = self.load_embedded(key, code);
        self.finish(status)
    }

    /// Loads an embedded source: the function or a message is pushed.
    pub fn load_embedded(&self, key: &str, code: &str) -> c_int {
        let key = CString::new(key).expect("no zero byte");
        let name = CString::new(format!("@{}", key.to_str().expect("text"))).expect("no zero byte");
        // SAFETY: all pointers live over the call.
        unsafe {
            skl_loadembedded(
                self.l,
                key.as_ptr(),
                code.as_ptr().cast(),
                code.len(),
                name.as_ptr(),
            )
        }
    }

    /// Calls what a load pushed; pops everything.
    pub fn finish(&self, mut status: c_int) -> Result<String, String> {
        // SAFETY: the call is protected; conversions below are made by Lua's
        // `tostring` on strings and numbers, or name a type.
        unsafe {
            if status == LUA_OK {
                status = lua_pcall(self.l, 0, LUA_MULTRET, 0);
            }
            let n = lua_gettop(self.l);
            let mut parts = Vec::new();
            for i in 1..=n {
                let text = luaL_tolstring(self.l, i, ptr::null_mut());
                parts.push(CStr::from_ptr(text).to_string_lossy().into_owned());
                lua_pop(self.l, 1);
            }
            lua_settop(self.l, 0);
            let text = parts.join(" ");
            if status == LUA_OK {
                Ok(text)
            } else {
                Err(text)
            }
        }
    }

    pub fn stats(&self) -> SklVmStats {
        let mut stats = SklVmStats::default();
        // SAFETY: the state is alive and `stats` has the layout of skl.h.
        unsafe { skl_vmstats(self.l, &mut stats) };
        stats
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // SAFETY: we own the state.
        unsafe { skl_close(self.l) }
    }
}

pub fn space() -> Space {
    Space::new(0x5eed).expect("memory")
}

/// A directory of its own for a test, removed when dropped.
pub struct Dir(pub std::path::PathBuf);

impl Dir {
    pub fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("skl-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("temporary directory");
        Dir(path)
    }

    /// Writes a file; its path as text.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("file written");
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
