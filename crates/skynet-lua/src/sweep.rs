//! Every native function with the n-th allocation failing, for all n: each run
//! ends in a Lua memory error or in success, and the VM works afterwards.

use std::sync::Arc;

use skynet_core::{Context, Driver, InitError, Message, Node, Payload, Service, ptype};

use crate::alloc::failing;
use crate::callback;
use crate::ffi::*;
use crate::host::LuaHost;
use crate::interrupt;
use crate::seri::unpack_to_stack;
use crate::snlua::{SnLua, open_for_test};
use crate::vm::{Vm, VmBox};

/// More allocations than any of the runs makes.
const MOST: u64 = 20_000;

/// Runs a test inside a service, on the thread of the test.
pub(crate) struct Probe(pub(crate) fn(&Context));

impl Service for Probe {
    fn init(&mut self, context: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
        (self.0)(context);
        Ok(())
    }

    fn dispatch(&mut self, _: &Context, _: Message) {}
}

pub(crate) fn inside(body: fn(&Context)) {
    let node = crate::install(Node::builder())
        .driver(Driver::Sim { seed: 1 })
        .env("harbor", "0")
        .env("logger", "/dev/null")
        .env("bootstrap", "probe")
        .module("probe", move || {
            Ok(Box::new(Probe(body)) as Box<dyn Service>)
        })
        .build()
        .unwrap();
    // A panic in `init` is an error of the start, with its text.
    node.start().unwrap();
    node.abort();
}

/// A VM with libraries, in the service of `context`.
pub(crate) fn vm(context: &Context) -> VmBox {
    let host = Arc::new(LuaHost::default());
    let vm = VmBox::new(&host, context, Arc::default()).expect("memory");
    // SAFETY: the VM is ours and fresh.
    unsafe { open_for_test(vm.as_ptr(), context).expect("libraries") };
    vm
}

/// Calls the function on the top of the stack with failing allocations; it
/// stays there. Returns how many allocations a whole run makes.
pub(crate) unsafe fn sweep(vm: *mut Vm, what: &str) -> u64 {
    // SAFETY: the VM is the test's own.
    unsafe {
        let L = (*vm).main;
        for n in 1..MOST {
            let top = lua_gettop(L);
            lua_pushvalue(L, -1);
            // Room that the protected call would otherwise have to make.
            assert!(lua_checkstack(L, 40) != 0);
            failing::from(n);
            let status = lua_pcall(L, 0, 0, 0);
            let failed = failing::stop();
            (*vm).scratch.clear();
            match status {
                LUA_OK => {
                    lua_settop(L, top);
                    if !failed {
                        return n - 1;
                    }
                }
                _ => {
                    let text = String::from_utf8_lossy(string_at(L, -1).unwrap_or_default());
                    assert!(
                        failed && (status == LUA_ERRMEM || text.contains("not enough memory")),
                        "{what}: allocation {n} failing gives {status}: {text}"
                    );
                    lua_settop(L, top);
                }
            }
        }
    }
    panic!("{what} does not end");
}

/// Lua code that uses one function each. `core`, `profile`, `memory`, `cache` are the modules.
const USES: &[&str] = &[
    "core.send(1, 0, 0, 'text')",
    "core.send(':1', 0, nil, ('long'):rep(100))",
    "core.send(1, 10, 0, core.pack(1, 'two', { 3, x = { 4.5 } }))",
    "core.redirect(1, 5, 0, 0, 'text')",
    "core.send('.nobody', 0, 0, 'text')",
    "pcall(core.send, {}, 0, 0, 'text')",
    "core.genid()",
    "core.command('REG')",
    "core.command('GETENV', 'harbor')",
    "core.intcommand('STAT', 'mqlen')",
    "core.intcommand('GETENV', 'harbor')",
    "core.addresscommand('QUERY', '.logger')",
    "core.error('one', 2, setmetatable({}, { __tostring = function() return 'three' end }))",
    "core.harbor(1)",
    "core.callback(function() end) core.callback(function() end, true)",
    "core.trace('tag', 'user', 1)",
    "core.tostring(core.pack('x'))",
    "core.trash(core.pack('x'))",
    "local p, n = core.pack(1, 'two', { 3 }) core.unpack(p, n) core.trash(p, n)",
    "core.packstring(1, -70000, 2 ^ 60 | 0, 1.5, 'two', ('x'):rep(70000), { 1, { a = { b = {} } } })",
    "core.packstring(setmetatable({}, { __pairs = function(t) return next, { k = { 1 } } end }))",
    "core.unpack(packed)",
    "pcall(core.unpack, packed:sub(1, -2))",
    "pcall(core.packstring, print)",
    "core.now() core.hpc()",
    "pcall(profile.stop) profile.start() local co = coroutine.create(function(...) coroutine.yield(...) end) \
     profile.start(co) coroutine.resume(co, 1, 2) profile.stop(co) profile.stop()",
    "coroutine.wrap(function() coroutine.yield({}) end)()",
    "pcall(coroutine.wrap(function() error 'x' end))",
    "memory.total() memory.block() memory.current() memory.info() memory.jestat() memory.dump()",
    "memory.mallctl('x') memory.profactive() memory.dumpheap()",
    "cache.mode() cache.mode('ON') cache.clear()",
    "package.loaded['skynet.queue'] = nil require 'skynet.queue'",
    "package.loaded['skynet.core'] = nil require 'skynet.core'",
    "require 'skynet.embedded' 'x/service/launcher.lua'",
    "pcall(require, 'no.such.module')",
];

const SETUP: &str = "
core, profile, memory = require 'skynet.core', require 'skynet.profile', require 'skynet.memory'
cache = require 'skynet.codecache'
packed = core.packstring(1, 'two', { 3, { x = ('y'):rep(100) } }, ('z'):rep(2000))
";

#[test]
fn every_function_survives_a_failing_allocation() {
    inside(|context| {
        let owner = vm(context);
        let vm = owner.as_ptr();
        // SAFETY: the VM is ours, used on this thread only.
        unsafe {
            let _entered = interrupt::enter(vm);
            let L = (*vm).main;
            let load = |text: &str| {
                let status = luaL_loadbufferx(
                    L,
                    text.as_ptr().cast(),
                    text.len(),
                    c"=use".as_ptr(),
                    c"t".as_ptr(),
                );
                assert_eq!(status, LUA_OK, "{text}");
            };
            load(SETUP);
            assert_eq!(lua_pcall(L, 0, 0, 0), LUA_OK);
            let mut allocations = 0;
            for text in USES {
                load(text);
                // Warm: what is made once (tables of the profile ...) is there.
                let made = sweep(vm, text);
                lua_settop(L, 0);
                allocations += made;
            }
            assert!(
                allocations > 200,
                "only {allocations} allocations were failed"
            );
            // Nothing was lost on the way: the same again needs no more memory.
            lua_gc(L, LUA_GCCOLLECT);
            lua_gc(L, LUA_GCCOLLECT);
            let before = (*vm).memory.bytes;
            for text in USES {
                load(text);
                sweep(vm, text);
                lua_settop(L, 0);
            }
            lua_gc(L, LUA_GCCOLLECT);
            lua_gc(L, LUA_GCCOLLECT);
            let after = (*vm).memory.bytes;
            assert!(
                after < before + 4096,
                "{before} bytes became {after} by running the same again"
            );
        }
    });
}

#[test]
fn a_start_that_runs_out_of_memory_is_a_failure_and_not_a_crash() {
    inside(|context| {
        let host = Arc::new(LuaHost::default());
        let mut failures = 0;
        for n in 1..MOST {
            let mut service = SnLua::new(host.clone());
            failing::from(n);
            let result = service.start_for_test(context, b"cdummy");
            let failed = failing::stop();
            drop(service);
            match result {
                Err(cause) => {
                    let cause = String::from_utf8_lossy(&cause).into_owned();
                    assert!(failed, "{cause}");
                    // Lua code that reports a failed load in words of its own.
                    assert!(
                        cause.contains("not enough memory"),
                        "allocation {n}: {cause}"
                    );
                    failures += 1;
                }
                Ok(()) if failed => {}
                Ok(()) => break,
            }
        }
        assert!(failures > 100, "only {failures} starts failed");
    });
}

#[test]
fn a_message_that_meets_no_memory_is_dropped_with_a_log_line() {
    inside(|context| {
        let owner = vm(context);
        let vm = owner.as_ptr();
        // SAFETY: the VM is ours, used on this thread only.
        unsafe {
            let _entered = interrupt::enter(vm);
            let L = (*vm).main;
            let text = "local core = require 'skynet.core' seen = 0
                core.callback(function(type, msg, sz)
                    local t = { core.unpack(msg, sz) }
                    seen = seen + 1
                end)";
            let status = luaL_loadbufferx(
                L,
                text.as_ptr().cast(),
                text.len(),
                c"=use".as_ptr(),
                c"t".as_ptr(),
            );
            assert_eq!(status, LUA_OK);
            assert_eq!(lua_pcall(L, 0, 0, 0), LUA_OK);
            let bytes = {
                let mut out = Vec::new();
                let table = crate::seri::value::Value::Table(
                    (0..50).map(crate::seri::value::Value::Integer).collect(),
                    Vec::new(),
                );
                crate::seri::value::encode(&[table], &mut out).unwrap();
                out
            };
            for n in 1..MOST {
                failing::from(n);
                let message = Message::new(1, 0, ptype::LUA, Payload::from_slice(&bytes));
                callback::dispatch(vm, context, message);
                if !failing::stop() {
                    break;
                }
                assert_eq!(lua_gettop(L), 0);
            }
            lua_getglobal(L, c"seen".as_ptr());
            assert!(lua_tointegerx(L, -1, std::ptr::null_mut()) >= 1);
        }
    });
}

unsafe extern "C-unwind" fn unpack_fuzzed(L: *mut lua_State) -> std::ffi::c_int {
    // SAFETY: called through lua_pcall with a pointer to a live slice.
    unsafe {
        let bytes = *lua_touserdata(L, 1).cast::<&[u8]>();
        match unpack_to_stack(L, bytes) {
            Ok(count) => count,
            Err(error) => error.raise(L),
        }
    }
}

#[test]
fn unpacking_any_bytes_under_a_limit_is_an_error_or_values() {
    inside(|context| {
        let owner = vm(context);
        let vm = owner.as_ptr();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        // SAFETY: the VM is ours, used on this thread only.
        unsafe {
            let L = (*vm).main;
            (*vm).memory.limit = (*vm).memory.bytes + 4 * 1024 * 1024;
            for _ in 0..20_000 {
                let len = random() as usize % 60;
                let bytes: Vec<u8> = (0..len)
                    .map(|_| {
                        // Mostly first bytes that mean something.
                        let r = random();
                        if r & 0x300 == 0 {
                            r as u8
                        } else {
                            [
                                6, 0x0e, 0x16, 0xfe, 2, 0x0a, 0x22, 4, 0x0c, 0x15, 0x25, 0, 9, 3,
                                0x42, 7,
                            ][(r & 15) as usize]
                        }
                    })
                    .collect();
                let mut slice = &bytes[..];
                lua_pushcfunction(L, unpack_fuzzed);
                lua_pushlightuserdata(L, (&raw mut slice).cast());
                let status = lua_pcall(L, 1, LUA_MULTRET, 0);
                let decoded = crate::seri::value::decode(&bytes);
                if status == LUA_OK {
                    let values = decoded.expect("both decoders agree");
                    assert_eq!(values.len() as i32, lua_gettop(L), "{bytes:02x?}");
                } else {
                    let text = String::from_utf8_lossy(string_at(L, -1).unwrap_or_default());
                    assert!(
                        decoded.is_err() || text.contains("table index is NaN"),
                        "{bytes:02x?}: {text}"
                    );
                }
                lua_settop(L, 0);
            }
        }
    });
}
