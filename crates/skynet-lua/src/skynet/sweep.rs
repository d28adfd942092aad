//! Every function of module `skynet`, and the dispatch of messages, with the
//! n-th allocation failing, for all n: whoever asked gets an answer or an
//! error, and the service works afterwards as if nothing had been.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use skynet_core::{
    Context, Driver, Handle, InitError, Message, Node, Payload, Service, SignalTarget, ptype,
};

use super::sessions::Kind;
use super::state::State;
use crate::alloc::failing;
use crate::host::LuaHost;
use crate::seri::value::{Value, decode, encode};
use crate::snlua::SnLua;
use crate::vm::Vm;

/// More allocations than any of the runs makes.
const MOST: u64 = 5_000;

thread_local! {
    /// The VM of the service under test; the driver runs it on this thread.
    static VM: Cell<*mut Vm> = const { Cell::new(null_mut()) };
    /// What came back to the caller: session, type, bytes.
    static ANSWERS: RefCell<Vec<(i32, u8, Vec<u8>)>> = const { RefCell::new(Vec::new()) };
}

/// A Lua service whose VM the test looks into.
struct Victim(SnLua);

impl Service for Victim {
    fn init(&mut self, context: &Context, args: Option<&[u8]>) -> Result<(), InitError> {
        self.0.init(context, args)
    }

    fn dispatch(&mut self, context: &Context, message: Message) {
        self.0.dispatch(context, message);
        VM.set(self.0.vm_for_test().unwrap_or(null_mut()));
    }

    fn has_callback(&self) -> bool {
        self.0.has_callback()
    }

    fn notified(&mut self, context: &Context, bits: u8) {
        self.0.notified(context, bits);
    }

    fn signal_target(&self) -> Option<Arc<dyn SignalTarget>> {
        self.0.signal_target()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        VM.set(null_mut());
    }
}

/// The services around it.
#[derive(Clone, Copy)]
enum Stub {
    /// Answers with what it got.
    Echo,
    /// Answers nothing.
    Silent,
    /// Answers every request with an error.
    Refuser,
    /// Answers LAUNCH with a handle.
    Launcher,
    /// Keeps what comes.
    Caller,
    /// Takes everything (the log).
    Sink,
}

impl Service for Stub {
    fn init(&mut self, context: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
        let name: &[u8] = match self {
            Self::Echo => b"echo",
            Self::Silent => b"silent",
            Self::Refuser => b"refuser",
            Self::Launcher => b"launcher",
            Self::Caller => b"caller",
            Self::Sink => return Ok(()),
        };
        assert!(context.node().bind_name(name, context.handle()));
        Ok(())
    }

    fn dispatch(&mut self, context: &Context, message: Message) {
        let (source, session) = (message.source, message.session);
        let bytes = message.payload.as_slice();
        let answer = match self {
            Self::Caller => {
                let (kind, bytes) = (message.kind(), bytes.to_vec());
                ANSWERS.with_borrow_mut(|answers| answers.push((session, kind, bytes)));
                return;
            }
            _ if message.kind() == ptype::ERROR => return,
            Self::Silent | Self::Sink => return,
            Self::Refuser => {
                context.reply_error(source, session, b"refused");
                return;
            }
            Self::Echo => Payload::from_slice(bytes),
            Self::Launcher => {
                if message.kind() == ptype::TEXT {
                    // The report of the loader.
                    ANSWERS.with_borrow_mut(|all| all.push((-1, ptype::LUA, b"ERROR".to_vec())));
                    return;
                }
                let command = decode(bytes).unwrap();
                if let Some(Value::String(text)) = command.first()
                    && (text == b"LAUNCHOK" || text == b"ERROR")
                {
                    // What the launcher waits for when a service starts.
                    ANSWERS.with_borrow_mut(|all| all.push((-1, ptype::LUA, text.clone())));
                }
                pack(&[Value::Integer(42)])
            }
        };
        if session != 0 {
            let _ = context.send(source, ptype::RESPONSE, session, answer);
        }
    }
}

fn pack(values: &[Value]) -> Payload {
    let mut out = Vec::new();
    encode(values, &mut out).unwrap();
    Payload::from_slice(&out)
}

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("skynet-sweep-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Bench {
    node: Arc<Node>,
    dir: Dir,
    session: Cell<i32>,
}

impl Bench {
    fn new() -> Self {
        let dir = Dir::new();
        let host = Arc::new(LuaHost::default());
        let pattern = dir.0.join("?.lua").display().to_string();
        let stub = |stub: Stub| move || Ok(Box::new(stub) as Box<dyn Service>);
        let node = crate::install(Node::builder())
            .driver(Driver::Sim { seed: 1 })
            .env("harbor", "0")
            .env("logservice", "sink")
            .env("bootstrap", "caller")
            .env("luaservice", &pattern)
            .env("lua_path", &pattern)
            .module("echo", stub(Stub::Echo))
            .module("silent", stub(Stub::Silent))
            .module("refuser", stub(Stub::Refuser))
            .module("launcher", stub(Stub::Launcher))
            .module("caller", stub(Stub::Caller))
            .module("sink", stub(Stub::Sink))
            .module("victim", move || {
                Ok(Box::new(Victim(SnLua::new(host.clone()))) as Box<dyn Service>)
            })
            .build()
            .unwrap();
        node.start().unwrap();
        for module in ["echo", "silent", "refuser", "launcher"] {
            node.launch(module, None).unwrap();
        }
        Self {
            node,
            dir,
            session: Cell::new(0),
        }
    }

    fn run(&self, centiseconds: u64) {
        self.node.sim().unwrap().run_for(centiseconds);
    }

    /// Writes a service.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.0.join(format!("{name}.lua")), text).unwrap();
    }

    /// Starts it.
    fn launch(&self, name: &str) -> Handle {
        let handle = self.node.launch("victim", Some(name.as_bytes())).unwrap();
        self.run(20);
        handle
    }

    /// Sends a request in the name of the caller; its session.
    fn ask(&self, victim: Handle, kind: u8, text: &str) -> i32 {
        let caller = self.node.find_name(b"caller").unwrap();
        self.session.set(self.session.get() + 1);
        let payload = pack(&[Value::String(text.as_bytes().to_vec())]);
        let session = self.session.get();
        // A service that has exited does not take it: that is an answer, too.
        if self
            .node
            .send(caller, victim, kind, session, payload)
            .is_err()
        {
            let gone = (session, ptype::ERROR, b"gone".to_vec());
            ANSWERS.with_borrow_mut(|answers| answers.push(gone));
        }
        session
    }

    /// The answers to a session, as type and first string.
    fn answers(&self, session: i32) -> Vec<(u8, String)> {
        ANSWERS.with_borrow(|answers| {
            answers
                .iter()
                .filter(|(of, ..)| *of == session)
                .map(|(_, kind, bytes)| {
                    let text = match decode(bytes).as_deref() {
                        Ok([Value::String(text), ..]) if *kind == ptype::RESPONSE => text.clone(),
                        _ => bytes.clone(),
                    };
                    (*kind, String::from_utf8_lossy(&text).into_owned())
                })
                .collect()
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        failing::stop();
        self.node.abort();
        self.node.sim().unwrap().run();
    }
}

/// What a service that rests should not have.
fn left_over() -> Result<(), String> {
    let vm = VM.get();
    if vm.is_null() {
        return Ok(());
    }
    // SAFETY: the driver runs the service on this thread, and it does not now;
    // the VM lives as long as the pointer is set.
    let s = unsafe { &(*vm).sched };
    let pending: Vec<_> = s
        .pending
        .iter()
        .filter(|(_, waiter)| waiter.kind != Kind::Break)
        .collect();
    let busy: Vec<_> = s
        .coros
        .iter()
        .filter(|coro| !matches!(coro.state, State::Free | State::Pooled))
        .collect();
    let responses = s.cold.as_ref().map_or(0, |cold| cold.responses.len());
    let used = s.coros.len() - s.holes.len();
    let anchored = s.slots as usize - s.free_slots.len();
    if !pending.is_empty()
        || !busy.is_empty()
        || !s.forks.is_empty()
        || !s.failed.is_empty()
        || s.woken.0 != s.woken.1
        || s.noyield != 0
        || used != s.pool.len()
        || anchored != used
        || responses != 0
    {
        return Err(format!(
            "left: pending {pending:?}, coroutines {busy:?}, forks {:?}, failed {:?}, woken {:?}, \
             noyield {}, {used} coroutines with {} in the pool, {anchored} anchors, \
             {responses} responses",
            s.forks,
            s.failed,
            s.woken,
            s.noyield,
            s.pool.len()
        ));
    }
    Ok(())
}

/// Forgets the open responses; how many there were.
fn drop_responses() -> usize {
    let vm = VM.get();
    if vm.is_null() {
        return 0;
    }
    // SAFETY: as in `left_over`.
    let cold = unsafe { &mut (*vm).sched.cold };
    cold.as_mut()
        .map_or(0, |cold| cold.responses.drain().count())
}

const SERVICE: &str = r#"
local skynet = require "skynet"
skynet.register_protocol { name = "text", id = skynet.PTYPE_TEXT, pack = tostring, unpack = skynet.tostring }
local function use(...)
    BODY
end
skynet.dispatch("text", function(_, _, text) skynet.ret("done") end)
skynet.start(function()
    skynet.dispatch("lua", function(_, _, what)
        if what == "ping" then
            skynet.retpack("pong")
        elseif not use(what) then
            skynet.retpack("done")
        end
    end)
end)
"#;

/// Whether the service is to be there afterwards.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Works,
    Exits,
}

/// Runs the service `name` with `asks` requests of type `kind` for all n, with that one allocation
/// failing (`lasting`: with all from then on). Returns how many it makes.
fn sweep(
    bench: &Bench,
    name: &str,
    text: &str,
    kind: u8,
    after: After,
    lasting: bool,
    asks: usize,
) -> u64 {
    for n in 1..MOST {
        let victim = bench.launch(name);
        ANSWERS.with_borrow_mut(Vec::clear);
        let sessions: Vec<i32> = (0..asks).map(|_| bench.ask(victim, kind, "use")).collect();
        if lasting {
            failing::from(n);
        } else {
            failing::once(n);
        }
        bench.run(200);
        let failed = failing::stop();
        // What has been put off is made up for.
        bench.run(200);
        let what = format!(
            "{text}: allocation {n} failing{}",
            if lasting { " and all behind it" } else { "" }
        );
        for session in sessions {
            let answers = bench.answers(session);
            // A request that `skynet.response` detached is the business of
            // whoever has its closure: here nobody, as the handler died.
            let detached = failed && answers.is_empty() && drop_responses() == 1;
            assert!(
                answers.len() == 1 || detached,
                "{what}: {answers:?}, {:?}",
                left_over()
            );
            if !failed && after == After::Works {
                assert_eq!(answers, [(ptype::RESPONSE, "done".to_owned())], "{what}");
            }
        }
        let alive = bench.node.context(victim).is_some();
        assert!(
            alive || after == After::Exits,
            "{what}: the service is gone"
        );
        if alive {
            if let Err(left) = left_over() {
                panic!("{what}: {left}");
            }
            let ping = bench.ask(victim, ptype::LUA, "ping");
            bench.run(20);
            assert_eq!(
                bench.answers(ping),
                [(ptype::RESPONSE, "pong".to_owned())],
                "{what}: ping"
            );
            let again = bench.ask(victim, kind, "use");
            bench.run(400);
            let answers = bench.answers(again);
            assert_eq!(answers.len(), 1, "{what}: again: {answers:?}");
            if after == After::Works {
                assert_eq!(
                    answers[0],
                    (ptype::RESPONSE, "done".to_owned()),
                    "{what}: again"
                );
            }
            if bench.node.context(victim).is_some() {
                if let Err(left) = left_over() {
                    panic!("{what}: again: {left}");
                }
                bench.node.context(victim).unwrap().exit();
                bench.run(1);
            }
        }
        if !failed {
            return n - 1;
        }
    }
    panic!("{text} does not end");
}

/// Sweeps all uses, each request sent `asks` times at once, each in a service of its own; all failures are shown at once.
fn sweep_all(uses: &[&str], kind: u8, after: After, asks: usize) {
    let mut wrong = Vec::new();
    let mut allocations = 0;
    for (at, body) in uses.iter().enumerate() {
        for lasting in [false, true] {
            let result = std::panic::catch_unwind(|| {
                let bench = Bench::new();
                let name = format!("use{at}");
                bench.write(&name, &SERVICE.replace("BODY", body));
                sweep(&bench, &name, body, kind, after, lasting, asks)
            });
            match result {
                Ok(made) => allocations += made,
                Err(panic) => wrong.push(
                    panic
                        .downcast::<String>()
                        .map_or_else(|_| format!("{body}: a panic without text"), |text| *text),
                ),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(
        allocations >= uses.len() as u64,
        "only {allocations} allocations were failed"
    );
}

const MESSAGES: &[&str] = &[
    "",
    "assert(skynet.call('.echo', 'lua', 'x', { 1, { 2 } }) == 'x')",
    "local m, n = skynet.rawcall('.echo', 'lua', skynet.packstring('x')) assert(skynet.unpack(m, n) == 'x')",
    "assert(not pcall(skynet.call, '.refuser', 'lua', 'x'))",
    "assert(not pcall(skynet.call, '.nobody', 'lua', 'x'))",
    "assert(skynet.call(skynet.localname '.echo', 'lua', 'x') == 'x')",
    "assert(skynet.call_timeout(10, '.echo', 'lua', 'x') == 'x')",
    "assert(not pcall(skynet.call_timeout, 10, '.silent', 'lua', 'x'))",
    "skynet.send('.echo', 'lua', 1, 'two', { 3 })",
    "skynet.rawsend('.echo', 'lua', skynet.packstring('x'))",
    "skynet.redirect('.silent', skynet.self(), 'lua', 0, skynet.packstring('x'))",
    "skynet.ret(skynet.pack('done')) return true",
    "skynet.ret(skynet.packstring('done')) return true",
    "local r = skynet.response() r(true, 'done') return true",
    "local r = skynet.response(skynet.packstring) skynet.fork(function() r(true, 'done') end) return true",
    "local r <close> = setmetatable({ skynet.response() }, { __close = function(r) if r[1] 'TEST' then r[1](false) end end }) \
     r[1](true, 'done') return true",
    "assert(skynet.newservice('x', 1, 2) == 42)",
    "local s, a = skynet.context() assert(s and a)",
    "skynet.tracecall('tag', '.echo', 'lua', skynet.packstring('x'))",
    "skynet.trace('x') skynet.tracetag() skynet.call('.echo', 'lua', 'x') skynet.sleep(1)",
    "skynet.trace_timeout(true) skynet.timeout(1, function() end) skynet.sleep(2) skynet.trace_timeout(false)",
    "for _ = 1, 20 do skynet.fork(function() skynet.call('.echo', 'lua', 'x') end) end",
    "coroutine.wrap(function() local ok, e = pcall(skynet.call, '.echo', 'lua', 'x') end)()",
];

#[test]
fn messages_out_survive_a_failing_allocation() {
    sweep_all(MESSAGES, ptype::LUA, After::Works, 1);
}

const TIMES: &[&str] = &[
    "skynet.fork(function(...) assert(select('#', ...) == 2) end, 1, 2)",
    "skynet.fork(function() end, table.unpack({}, 1, 100))",
    "local co = skynet.fork(function() end) assert(co)",
    "skynet.timeout(1, function() skynet.call('.echo', 'lua', 'x') end)",
    "local co = skynet.timeout(1, function() end) assert(co)",
    "local t = skynet.timer(1, function() skynet.now() end)",
    "local t = skynet.timer(1, function() end) assert(t:cancel())",
    "skynet.sleep(1)",
    "skynet.yield()",
    "local co = coroutine.create(function() coroutine.yield() end) coroutine.resume(co) coroutine.resume(co)",
    "local token = {} skynet.timeout(1, function() skynet.wakeup(token) end) skynet.sleep(100, token)",
    "local token = {} skynet.fork(function() skynet.wakeup(token) end) \
     if skynet.sleep(150, token) then return end",
    "local co = coroutine.running() local ok, why = pcall(skynet.fork, function() skynet.wakeup(co) end) \
     if not ok then error(why, 0) end skynet.sleep(50, co)",
    "local co = skynet.fork(skynet.sleep, 100) skynet.sleep(1) if co then skynet.killthread(co) end",
    "skynet.timeout(100, function() end) skynet.task() skynet.task({}) skynet.uniqtask()",
    "skynet.noyield(function() return {} end) pcall(skynet.noyield, skynet.sleep, 1)",
    "pcall(skynet.noyield, coroutine.yield)",
    "local q = require 'skynet.queue'() q(skynet.sleep, 1) q(error) ",
];

#[test]
fn times_and_forks_survive_a_failing_allocation() {
    let mut uses = TIMES.to_vec();
    let last = uses.pop().unwrap().replace("q(error)", "pcall(q, error)");
    uses.push(&last);
    sweep_all(&uses, ptype::LUA, After::Works, 1);
}

const REST: &[&str] = &[
    "local r = skynet.request { '.echo', 'lua', 'x' } for req, resp in r:select(150) do end",
    "local r = skynet.request { '.echo', 'lua', 'x' } r:add { '.refuser', 'lua' } r:add { '.nobody', 'lua' } \
     for req, resp in r:select() do end",
    "local r = skynet.request { '.silent', 'lua', 'x' } for req, resp in r:select(1) do end",
    "skynet.dispatch('text', skynet.dispatch 'text')",
    "if not skynet._proto.own then skynet.register_protocol { name = 'own', id = 99, pack = skynet.pack } end",
    "skynet.serial 'lua' skynet.call('.echo', 'lua', 'x')",
    "skynet.error('one', 2, {})",
    "skynet.trash(skynet.pack(1, 'x', { {} })) skynet.unpack(skynet.packstring('x', { 1 }))",
    "skynet.getenv 'harbor' pcall(skynet.setenv, 'key' .. skynet.now(), 'value')",
    "skynet.term('.silent') skynet.term(1)",
    "skynet.fork(pcall, skynet.call_timeout, 100, '.silent', 'lua') skynet.yield() skynet.term('.silent')",
    "skynet.address(skynet.self()) skynet.localname '.echo' skynet.genid() skynet.time() skynet.starttime()",
    "skynet.mqlen() skynet.stat 'mqlen' skynet.endless() skynet.harbor(1) skynet.hpc()",
    "skynet.info_func(function() end)",
    "local old = skynet.dispatch_unknown_request(function() end) skynet.dispatch_unknown_request(old)",
    "for k in pairs(skynet) do end",
    "local profile = require 'skynet.profile' pcall(profile.stop) profile.start() skynet.call('.echo', 'lua', 'x') \
     skynet.sleep(1) profile.stop()",
    "local c = require 'skynet.debugchannel' local a, h = c.create() local b = c.connect(h) \
     a:write('x') b:read(0) b:write('y') assert(a:read(0))",
    "local ok, e = pcall(error, setmetatable({}, { __tostring = function() return ('x'):rep(10) end })) ",
    "skynet.send(skynet.self(), 'text', 'x') skynet.sleep(1)",
    "if not skynet._proto.own then skynet.register_protocol { name = 'own', id = 99, pack = skynet.pack } end \
     pcall(skynet.call, skynet.self(), 'own', 1)",
    "skynet.traceproto('lua', true) skynet.traceproto('lua', false) skynet.traceproto('lua', nil)",
    "skynet.fork(error, 'x') skynet.fork(error, {}) skynet.yield()",
    "if skynet.memlimit then skynet.memlimit(1 << 30) end",
];

#[test]
fn the_rest_survives_a_failing_allocation() {
    sweep_all(REST, ptype::LUA, After::Works, 1);
}

#[test]
fn a_request_of_another_protocol_survives_a_failing_allocation() {
    sweep_all(&[""], ptype::TEXT, After::Works, 1);
}

#[test]
fn a_debug_request_survives_a_failing_allocation() {
    // Its answer is not that of `use`.
    sweep_all(&[""], ptype::DEBUG, After::Exits, 1);
}

const BURSTS: &[&str] = &[
    "",
    "skynet.call('.echo', 'lua', 'x')",
    "skynet.serial 'lua' skynet.sleep(1)",
    "skynet.serial 'lua' skynet.call('.echo', 'lua', 'x') skynet.serial('lua', false)",
    "skynet.sleep(1) skynet.fork(skynet.sleep, 1)",
    "waiting = waiting or {} local t = {} table.insert(waiting, t) \
     if #waiting == 3 then for _, t in ipairs(waiting) do skynet.wakeup(t) end waiting = nil end skynet.sleep(20, t)",
    "list = list or {} list[1] = coroutine.running() local co = list[2] if co then skynet.wakeup(co) end skynet.sleep(1)",
    "skynet.trace() skynet.call('.echo', 'lua', 'x')",
    "skynet.noyield(function() return ('x'):rep(100) .. skynet.now() end)",
];

#[test]
fn requests_at_once_survive_a_failing_allocation() {
    sweep_all(BURSTS, ptype::LUA, After::Works, 3);
}

/// What a request meets that comes with a trace tag, many values, or nothing.
const MORE: &[&str] = &[
    "skynet.traceproto('lua', true) skynet.call('.echo', 'lua', 'x')",
    "skynet.send(skynet.self(), 'lua', table.unpack({ 'ping' }, 1, 100)) skynet.sleep(1)",
    "assert(select('#', skynet.call('.echo', 'lua', table.unpack({}, 1, 100))) == 100)",
    "assert(#skynet.call('.echo', 'lua', ('x'):rep(100000)) == 100000)",
    "skynet.rawsend(skynet.self(), 'lua', 'no such message') skynet.sleep(1)",
    "skynet.redirect(skynet.self(), '.echo' and 1, 'response', 77777, 'x') skynet.sleep(1)",
    "skynet.redirect(skynet.self(), 1, 'error', 77777, 'x') skynet.sleep(1)",
    "skynet.dispatch_unknown_response(function() end) \
     skynet.redirect(skynet.self(), 1, 'response', 77777, 'x') skynet.sleep(1)",
    "local token = {} skynet.fork(pcall, skynet.sleep, 100, token) skynet.yield() skynet.killthread 'thread'",
    "coroutine.wrap(function() skynet.sleep(1) end)()",
    "local skyco = require 'skynet.coroutine' local co = skyco.create(function() skynet.sleep(1) skyco.yield() end) \
     assert(skyco.resume(co)) assert(skyco.resume(co))",
    "local f = skynet.uniqueservice pcall(f, 'x') pcall(skynet.queryservice, 'x')",
    "local x <close> = setmetatable({}, { __close = function() skynet.fork(function() end) end }) pcall(error)",
    "skynet.fork(function() coroutine.yield('strange') end) skynet.yield()",
    "for i = 1, 5 do skynet.timeout(1, function() skynet.call('.echo', 'lua', i) end) end skynet.sleep(3)",
    "local r = skynet.request() for i = 1, 9 do r:add { '.echo', 'lua', i } end \
     for req, resp in r:select(150) do skynet.yield() end",
];

#[test]
fn odd_requests_survive_a_failing_allocation() {
    sweep_all(MORE, ptype::LUA, After::Works, 1);
}

const ENDS: &[&str] = &[
    "skynet.exit()",
    "skynet.fork(skynet.sleep, 100) skynet.fork(pcall, skynet.call_timeout, 100, '.silent', 'lua') skynet.yield() skynet.exit()",
    "local r = skynet.response() skynet.fork(skynet.exit) return true",
    "local x <close> = setmetatable({}, { __close = function() skynet.fork(function() end) end }) skynet.exit()",
    "coroutine.wrap(skynet.exit)()",
    "skynet.retpack 'done' skynet.exit()",
];

#[test]
fn an_exit_survives_a_failing_allocation() {
    sweep_all(ENDS, ptype::LUA, After::Exits, 1);
}

/// A service that starts: the launcher is told how it went, and one that failed is gone.
#[test]
fn a_start_without_memory_is_told_to_the_launcher() {
    for body in [
        "",
        "skynet.call('.echo', 'lua', 'x')",
        "error 'no'",
        "error {}",
    ] {
        for lasting in [false, true] {
            let bench = Bench::new();
            let text = format!(
                "local skynet = require 'skynet' skynet.init(function() end) \
                 skynet.start(function() {body} skynet.dispatch('lua', function() skynet.retpack 'pong' end) end)"
            );
            bench.write("begin", &text);
            bench.launch("begin");
            let mut n = 0;
            loop {
                n += 1;
                ANSWERS.with_borrow_mut(Vec::clear);
                let victim = bench.node.launch("victim", Some(b"begin")).unwrap();
                if lasting {
                    failing::from(n);
                } else {
                    failing::once(n);
                }
                bench.run(20);
                let failed = failing::stop();
                bench.run(20);
                let what = format!("{body}: allocation {n} failing, lasting: {lasting}");
                let told = ANSWERS.with_borrow(Vec::clone);
                let alive = bench.node.context(victim).is_some();
                match &told[..] {
                    [(_, ptype::LUA, text)] if text == b"LAUNCHOK" => {
                        assert!(alive, "{what}");
                        let ping = bench.ask(victim, ptype::LUA, "ping");
                        bench.run(20);
                        assert_eq!(
                            bench.answers(ping),
                            [(ptype::RESPONSE, "pong".to_owned())],
                            "{what}"
                        );
                        bench.node.context(victim).unwrap().exit();
                        bench.run(1);
                    }
                    [(_, ptype::LUA, text)] if text == b"ERROR" => {
                        assert!(!alive && (failed || body.contains("error")), "{what}");
                    }
                    _ => panic!("{what}: {told:?}, {alive}"),
                }
                if !failed {
                    break;
                }
            }
            assert!(n > 20, "{body}: only {n} allocations");
        }
    }
}
