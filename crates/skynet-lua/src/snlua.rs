//! Module `snlua`: a service written in Lua (spec/01-core.md §14).

use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;

use skynet_core::{Context, InitError, Message, Payload, Service, SignalTarget, ptype};

use crate::alloc::mebibytes;
use crate::callback::{self, error_text};
use crate::ffi::*;
use crate::host::{DEFAULT_LUA_PATH, LuaHost, Templates};
use crate::interrupt::{self, Shared};
use crate::vm::{Callback, NOTICE_IDLE, Vm, VmBox};
use crate::{embed, idle, lib_codecache, lib_profile, modules};

/// A Lua service.
pub(crate) struct SnLua {
    host: Arc<LuaHost>,
    shared: Arc<Shared>,
    /// Made when the first message comes.
    vm: Option<VmBox>,
    handle: u32,
    started: bool,
}

impl SnLua {
    pub(crate) fn new(host: Arc<LuaHost>) -> Self {
        Self {
            host,
            shared: Arc::default(),
            vm: None,
            handle: 0,
            started: false,
        }
    }

    /// The first message: makes the VM and runs the loader (spec/01-core.md §14.1).
    fn start(&mut self, context: &Context, args: &[u8]) {
        self.host.learn_once(|| teach(&self.host, context));
        let failed = match VmBox::new(&self.host, context, self.shared.clone()) {
            None => Some(Failure::new(b"lua loader error : ", b"not enough memory")),
            Some(vm) => {
                let pointer = vm.as_ptr();
                self.vm = Some(vm);
                // SAFETY: the VM is ours, and this thread runs it until `_entered` is dropped.
                let _entered = unsafe { interrupt::enter(pointer) };
                // SAFETY: as above.
                unsafe { run_loader(pointer, context, args) }.err()
            }
        };
        if let Some(failure) = failed {
            let mut line = failure.prefix;
            line.extend_from_slice(&failure.cause);
            context.log(&line);
            let report = if self.host.has_own_launcher() {
                // Ours, which knows what to do with the cause.
                [b"ERROR ", &failure.cause[..]].concat()
            } else {
                b"ERROR".to_vec()
            };
            let _ = context.send_name(
                b".launcher",
                context.handle(),
                ptype::TEXT,
                0,
                Payload::from_slice(&report),
            );
            context.exit();
            context.node().bootstrap_failed(context.handle());
        }
    }
}

#[cfg(test)]
impl SnLua {
    /// The VM, once there is one.
    pub(crate) fn vm_for_test(&self) -> Option<*mut Vm> {
        self.vm.as_ref().map(VmBox::as_ptr)
    }

    /// The start without its reports; the cause of a failure.
    pub(crate) fn start_for_test(&mut self, context: &Context, args: &[u8]) -> Result<(), Vec<u8>> {
        let vm = VmBox::new(&self.host, context, self.shared.clone())
            .ok_or_else(|| b"not enough memory".to_vec())?;
        let pointer = vm.as_ptr();
        self.vm = Some(vm);
        // SAFETY: the VM is ours and fresh.
        unsafe {
            let _entered = interrupt::enter(pointer);
            run_loader(pointer, context, args).map_err(|failure| failure.cause)
        }
    }
}

/// Opens the libraries of a VM that is tested without a loader.
///
/// # Safety
/// `vm` is fresh, and this thread runs it.
#[cfg(test)]
pub(crate) unsafe fn open_for_test(vm: *mut Vm, context: &Context) -> Result<(), Vec<u8>> {
    // SAFETY: as in `run_loader`.
    unsafe {
        let L = (*vm).main;
        let mut opening = Opening {
            vm,
            context,
            templates: (*(*vm).host_ptr()).templates(),
            pattern: false,
        };
        lua_pushcfunction(L, open_libraries);
        lua_pushlightuserdata(L, (&raw mut opening).cast());
        if lua_pcall(L, 1, 0, 0) != LUA_OK {
            return Err(error_text(L));
        }
        lua_sethook(L, None, 0, 0);
    }
    Ok(())
}

/// Why a service did not start: the start of the log line, and the cause.
struct Failure {
    prefix: Vec<u8>,
    cause: Vec<u8>,
}

impl Failure {
    fn new(prefix: &[u8], cause: &[u8]) -> Self {
        Self {
            prefix: prefix.to_vec(),
            cause: cause.to_vec(),
        }
    }
}

impl Service for SnLua {
    fn init(&mut self, context: &Context, args: Option<&[u8]>) -> Result<(), InitError> {
        let Some(args) = args else {
            return Err(InitError::new("snlua needs the name of a Lua service"));
        };
        self.host.decide_family(context.node());
        self.handle = context.handle();
        self.host.add_service(self.handle, self.shared.clone());
        context
            .send(context.handle(), ptype::TEXT, 0, Payload::from_slice(args))
            .map_err(|error| InitError::new(error.to_string()))
    }

    fn dispatch(&mut self, context: &Context, message: Message) {
        let Some(vm) = &self.vm else {
            if !self.started {
                self.started = true;
                self.start(context, message.payload.as_slice());
                if let Some(vm) = &self.vm {
                    // SAFETY: the VM is ours for the dispatch.
                    unsafe { idle::after_dispatch(vm.as_ptr(), context) };
                }
            }
            return;
        };
        let vm = vm.as_ptr();
        // SAFETY: the VM is ours for the dispatch; no error leaves the
        // functions called, which protect their calls into Lua.
        unsafe {
            let _entered = interrupt::enter(vm);
            (*vm).scratch.clear();
            match (*vm).callback {
                Callback::Native => crate::skynet::dispatch(vm, context, message),
                Callback::Lua => callback::dispatch(vm, context, message),
                Callback::None => {}
            }
            idle::after_dispatch(vm, context);
        }
    }

    fn has_callback(&self) -> bool {
        match &self.vm {
            None => !self.started,
            // SAFETY: the VM is ours; the field is read, no reference is kept.
            Some(vm) => unsafe { (*vm.as_ptr()).callback != Callback::None },
        }
    }

    fn notified(&mut self, context: &Context, bits: u8) {
        let Some(vm) = &self.vm else { return };
        let vm = vm.as_ptr();
        // SAFETY: as in `dispatch`.
        unsafe {
            let _entered = interrupt::enter(vm);
            if bits & !NOTICE_IDLE != 0 {
                crate::skynet::notified(vm, context, bits & !NOTICE_IDLE);
            }
            if bits & NOTICE_IDLE != 0 {
                idle::look(vm, context);
            }
        }
    }

    fn signal_target(&self) -> Option<Arc<dyn SignalTarget>> {
        Some(self.shared.clone())
    }
}

impl Drop for SnLua {
    fn drop(&mut self) {
        self.host.remove_service(self.handle);
        // Closing runs finalizers; they cannot be interrupted.
        drop(self.vm.take());
    }
}

/// Makes the names that every VM has atoms of the space, by a VM that opens
/// everything there is and is closed again: the VMs of services then share them.
/// Then takes the templates that these VMs are made from, of a second one.
fn teach(host: &Arc<LuaHost>, context: &Context) -> Option<Templates> {
    let first = opened(host, context, false)?;
    // SAFETY: the VM is ours; what may raise runs in protected calls.
    unsafe {
        let L = (*first.as_ptr()).main;
        modules::open_all(L);
        if skl_learn(L) == 0 {
            return None;
        }
    }
    drop(first);
    let second = opened(host, context, true)?;
    // SAFETY: as above; both tables stay on the stack.
    unsafe {
        let L = (*second.as_ptr()).main;
        let vm = skl_template(L, 0);
        if vm.is_null() {
            return None;
        }
        let mut templates = Templates {
            vm,
            skynet: std::ptr::null(),
            protocols: std::ptr::null(),
            missing: START
                .iter()
                .map(|start| start.key)
                .filter(|key| context.node().env().get(key).is_none())
                .collect(),
        };
        lua_pushcfunction(L, crate::skynet::push_patterns);
        if lua_pcall(L, 0, 2, 0) == LUA_OK {
            templates.protocols = skl_template(L, -2);
            templates.skynet = skl_template(L, -1);
        }
        Some(templates)
    }
}

/// A VM with the libraries, made step by step, for [`teach`].
fn opened(host: &Arc<LuaHost>, context: &Context, pattern: bool) -> Option<VmBox> {
    let vm = VmBox::new(host, context, Arc::default())?;
    let pointer = vm.as_ptr();
    // SAFETY: the VM is ours; what may raise runs in a protected call.
    let status = unsafe {
        let L = (*pointer).main;
        lua_gc(L, LUA_GCSTOP);
        lua_gc(L, LUA_GCGEN);
        let mut opening = Opening {
            vm: pointer,
            context,
            templates: None,
            pattern,
        };
        lua_pushcfunction(L, open_libraries);
        lua_pushlightuserdata(L, (&raw mut opening).cast());
        lua_pcall(L, 1, 0, 0)
    };
    (status == LUA_OK).then_some(vm)
}

/// What the protected part of the start needs; lives on `run_loader`'s frame.
struct Opening<'a> {
    vm: *mut Vm,
    context: &'a Context,
    /// What the VM was made from.
    templates: Option<&'a Templates>,
    /// No service will run in it: takes no random numbers from the node.
    pattern: bool,
}

/// A global that the loader finds.
struct Start {
    name: &'static CStr,
    key: &'static str,
    default: Option<&'static str>,
}

const START: [Start; 4] = [
    Start {
        name: c"LUA_PATH",
        key: "lua_path",
        default: Some(DEFAULT_LUA_PATH),
    },
    Start {
        name: c"LUA_CPATH",
        key: "lua_cpath",
        default: Some("./luaclib/?.so"),
    },
    Start {
        name: c"LUA_SERVICE",
        key: "luaservice",
        default: Some("./service/?.lua"),
    },
    Start {
        name: c"LUA_PRELOAD",
        key: "preload",
        default: None,
    },
];

/// Opens the libraries, loads the loader and runs it.
///
/// # Safety
/// `vm` is fresh, and this thread runs it.
unsafe fn run_loader(vm: *mut Vm, context: &Context, args: &[u8]) -> Result<(), Failure> {
    // SAFETY: the VM is ours. Everything that may raise runs in protected
    // calls; a fresh main thread has the slots used here.
    unsafe {
        let L = (*vm).main;
        lua_gc(L, LUA_GCSTOP);
        // While there is nothing to traverse yet; a template has it done.
        if (*(*vm).host_ptr()).templates().is_none() {
            lua_gc(L, LUA_GCGEN);
        }
        let mut opening = Opening {
            vm,
            context,
            templates: (*(*vm).host_ptr()).templates(),
            pattern: false,
        };
        lua_pushcfunction(L, open_libraries);
        lua_pushlightuserdata(L, (&raw mut opening).cast());
        if lua_pcall(L, 1, 0, 0) != LUA_OK {
            return Err(Failure::new(b"lua loader error : ", &error_text(L)));
        }
        lua_settop(L, 0);
        let env = context.node().env();
        let loader = env
            .get("lualoader")
            .unwrap_or_else(|| b"./lualib/loader.lua".to_vec());
        lua_pushcfunction(L, callback::traceback);
        let path = CString::new(loader).map_err(|_| {
            Failure::new(
                b"Can't load lualoader : ",
                b"its name has a zero byte in it",
            )
        })?;
        let mut load = Loading { vm, path: &path };
        lua_pushcfunction(L, load_loader);
        lua_pushlightuserdata(L, (&raw mut load).cast());
        if lua_pcall(L, 1, 1, 0) != LUA_OK {
            let prefix = [b"Can't load ", path.as_bytes(), b" : "].concat();
            return Err(Failure::new(&prefix, &error_text(L)));
        }
        let mut call = Calling { args };
        lua_pushcfunction(L, push_args);
        lua_pushlightuserdata(L, (&raw mut call).cast());
        if lua_pcall(L, 1, 1, 0) != LUA_OK || lua_pcall(L, 1, 0, 1) != LUA_OK {
            return Err(Failure::new(b"lua loader error : ", &error_text(L)));
        }
        lua_settop(L, 0);
        take_memory_limit(vm, context);
        lua_gc(L, LUA_GCRESTART);
    }
    Ok(())
}

/// Registry field `memlimit`: the limit that the script asked for. Read once.
unsafe fn take_memory_limit(vm: *mut Vm, context: &Context) {
    // SAFETY: the VM is ours. A table access with a string key may allocate
    // the string, so it is protected.
    unsafe {
        let L = (*vm).main;
        lua_pushcfunction(L, memory_limit);
        if lua_pcall(L, 0, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TNUMBER {
            let bytes = lua_tonumber(L, -1);
            crate::skynet::limited(vm);
            (*vm).memory.limit = bytes as usize;
            context.log(format!(
                "Set memory limit to {:.2} M",
                mebibytes(bytes as usize)
            ));
        }
        lua_settop(L, 0);
    }
}

unsafe extern "C-unwind" fn memory_limit(L: *mut lua_State) -> c_int {
    // SAFETY: called through lua_pcall.
    unsafe {
        if lua_getfield(L, LUA_REGISTRYINDEX, c"memlimit".as_ptr()) == LUA_TNIL {
            return 0;
        }
        lua_pushnil(L);
        lua_setfield(L, LUA_REGISTRYINDEX, c"memlimit".as_ptr());
    }
    1
}

struct Calling<'a> {
    args: &'a [u8],
}

/// Returns the argument string.
unsafe extern "C-unwind" fn push_args(L: *mut lua_State) -> c_int {
    // SAFETY: called through lua_pcall with a pointer to a live `Calling`.
    unsafe {
        let call = lua_touserdata(L, 1).cast::<Calling<'_>>();
        push_bytes(L, (*call).args);
    }
    1
}

struct Loading<'a> {
    vm: *mut Vm,
    path: &'a CString,
}

/// Returns the loader's function, from its file or the embedded one, or raises the message.
unsafe extern "C-unwind" fn load_loader(L: *mut lua_State) -> c_int {
    // SAFETY: called through lua_pcall with a pointer to a live `Loading`,
    // which owns nothing.
    unsafe {
        let load = lua_touserdata(L, 1).cast::<Loading<'_>>();
        let path = (*load).path;
        // A file that the cache has is not looked at again, so nor is this.
        let embedded = (*(*(*load).vm).host_ptr()).embedded_loader(path.as_bytes());
        let status = match embedded {
            Some(file) => {
                embed::set_display(&mut (*(*load).vm).text, path.as_bytes());
                embed::load(L, (*load).vm, file)
            }
            None => luaL_loadfilex(L, path.as_ptr(), std::ptr::null()),
        };
        if status != LUA_OK {
            lua_error(L);
        }
    }
    1
}

/// The libraries and globals of spec/02-lua-api.md §1.2.
unsafe extern "C-unwind" fn open_libraries(L: *mut lua_State) -> c_int {
    // SAFETY: called through lua_pcall with a pointer to a live `Opening`.
    // Values of the environment go through the Vm's scratch text.
    unsafe {
        let opening = lua_touserdata(L, 1).cast::<Opening<'_>>();
        let (vm, context) = ((*opening).vm, (*opening).context);
        lua_settop(L, 0);
        if let Some(templates) = (*opening).templates {
            lua_pushlightuserdata(L, std::ptr::from_ref(context).cast_mut().cast());
            lua_setfield(L, LUA_REGISTRYINDEX, c"skynet_context".as_ptr());
            for start in &START {
                let key = start.key;
                if templates.missing.contains(&key) && context.node().env().get(key).is_some() {
                    set_start(L, vm, context, start);
                }
            }
            crate::fixed::fix(L, context);
            return 0;
        }
        lua_pushboolean(L, 1);
        lua_setfield(L, LUA_REGISTRYINDEX, c"LUA_NOENV".as_ptr());
        luaL_openselectedlibs(L, !0, 0);
        modules::preload(L, c"skynet.profile", lib_profile::luaopen_skynet_profile);
        lib_profile::replace_coroutine(L);
        lua_pushlightuserdata(L, std::ptr::from_ref(context).cast_mut().cast());
        lua_setfield(L, LUA_REGISTRYINDEX, c"skynet_context".as_ptr());
        modules::preload(
            L,
            c"skynet.codecache",
            lib_codecache::luaopen_skynet_codecache,
        );
        modules::install_searcher(L);
        for start in &START {
            set_start(L, vm, context, start);
        }
        if !(*opening).pattern {
            crate::fixed::fix(L, context);
        }
    }
    0
}

/// Sets a global from the environment. Slots: 1. May raise (memory).
unsafe fn set_start(L: *mut lua_State, vm: *mut Vm, context: &Context, start: &Start) {
    // SAFETY: called by `open_libraries`. The value is in the Vm's own text
    // when something may raise.
    unsafe {
        let text = &raw mut (*vm).text;
        match (context.node().env().get(start.key), start.default) {
            (Some(value), _) => *text = value,
            (None, Some(default)) => {
                (*text).clear();
                (*text).extend_from_slice(default.as_bytes());
            }
            (None, None) => return,
        }
        push_bytes(L, &*text);
        lua_setglobal(L, start.name.as_ptr());
    }
}
