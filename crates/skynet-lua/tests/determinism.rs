//! The deterministic driver with Lua services: one seed, one trace; virtual time.

mod common;

use common::{TestNode, start, start_with};
use skynet_core::{Driver, SimEnd, TraceEntry};
use skynet_net::Net;

/// A node with the services of a bootstrap and sockets in memory.
fn sim(seed: u64, files: &[(&str, &str)]) -> TestNode {
    start_with(files, Driver::Sim { seed }, |builder| {
        let net = Net::new();
        builder
            .component(net.clone())
            .extension(net)
            .env("bootstrap", "snlua bootstrap")
            .env("start", "main")
            .record_trace()
    })
}

/// Starts the cast, and lets it play.
const MAIN: &str = r#"
local skynet = require "skynet"
skynet.start(function()
    local players = {}
    for i = 1, 12 do players[i] = skynet.newservice("player", tostring(i)) end
    for i = 1, 12 do skynet.send(players[i], "lua", "play", players) end
    local store = skynet.uniqueservice "store"
    skynet.newservice("talk")
    for round = 1, 5 do
        skynet.sleep(60 * 100 * math.random(30, 60)) -- up to an hour
        skynet.error("round", round, skynet.call(store, "lua", "sum"))
    end
end)
"#;

const PLAYER: &str = r#"
local skynet = require "skynet"
local queue = require "skynet.queue" ()
local me = ...
local command = {}

-- An adversary decides what an element is only when it is compared, so that
-- table.sort asks for random pivots.
local function sort()
    local n = math.random(150, 400)
    local solid, pivot, value, seen = 0, 0, {}, 0
    local t = {}
    for i = 1, n do t[i] = i end
    table.sort(t, function(a, b)
        seen = (seen * 31 + a * 7 + b) & 0xffffffff
        if not value[a] and not value[b] then
            solid = solid + 1
            value[a == pivot and a or b] = solid
        end
        if not value[a] then pivot = a elseif not value[b] then pivot = b end
        return (value[a] or n + 1) < (value[b] or n + 1)
    end)
    return seen
end

function command.play(players)
    local store = skynet.uniqueservice "store"
    for i = 1, 6 do
        skynet.fork(function()
            skynet.sleep(math.random(0, 360000))
            local peer = players[math.random(#players)]
            local answer = peer == skynet.self() and "me" or skynet.call(peer, "lua", "ask", i)
            skynet.send(store, "lua", "put", me .. ":" .. i, answer)
        end)
        skynet.timeout(math.random(100, 700000), function()
            skynet.send(store, "lua", "put", "sort", sort())
            -- names as keys: their order is that of the hash seed
            local names, order = {}, {}
            for j = 1, 40 do names["name" .. math.random(1000)] = j end
            for name in pairs(names) do order[#order + 1] = name end
            skynet.send(store, "lua", "put", "order", table.concat(order))
            skynet.send(store, "lua", "put", "seeds", math.randomseed())
            skynet.send(store, "lua", "put", "time", os.time(), os.date(), os.clock())
        end)
    end
    skynet.fork(function()
        for _ = 1, 20 do
            skynet.yield()
            for _ = 1, math.random(20000) do end
        end
        skynet.send(store, "lua", "put", "busy", skynet.now(), skynet.hpc())
    end)
end

function command.ask(i)
    return queue(function()
        skynet.sleep(math.random(0, 50))
        local parts = {}
        for j = 1, i do parts[j] = skynet.call(skynet.self(), "lua", "echo", math.random(100)) end
        return table.concat(parts, ",")
    end)
end

function command.echo(value)
    return value
end

skynet.start(function()
    skynet.dispatch("lua", function(session, _, name, ...)
        if session == 0 then command[name](...) else skynet.ret(skynet.pack(command[name](...))) end
    end)
end)
"#;

/// Lines of random lengths at random times over sockets.
const TALK: &str = r#"
local skynet = require "skynet"
local socket = require "skynet.socket"
skynet.start(function()
    local store = skynet.uniqueservice "store"
    local listener = socket.listen("127.0.0.1", 8888)
    socket.start(listener, function(id)
        socket.start(id)
        local line = socket.readline(id)
        while line do
            skynet.sleep(math.random(0, 100))
            socket.write(id, line:reverse() .. "\n")
            line = socket.readline(id)
        end
        socket.close(id)
    end)
    for client = 1, 5 do
        skynet.fork(function()
            local id = assert(socket.open("127.0.0.1", 8888))
            local heard = {}
            for i = 1, 10 do
                for _ = 1, i do
                    socket.write(id, string.rep(client, math.random(0, 200)))
                    skynet.sleep(math.random(0, 3))
                end
                socket.write(id, "\n")
                heard[i] = assert(socket.readline(id))
            end
            socket.close(id)
            skynet.send(store, "lua", "put", "heard", table.concat(heard))
        end)
    end
end)
"#;

const STORE: &str = r#"
local skynet = require "skynet"
local puts, sum = 0, 0
skynet.start(function()
    skynet.dispatch("lua", function(session, _, name, ...)
        if name == "put" then
            puts = puts + 1
            for c in skynet.packstring(...):gmatch "." do sum = (sum * 31 + c:byte()) & 0xffffffff end
        else
            skynet.ret(skynet.pack(puts, sum))
        end
    end)
end)
"#;

fn play(seed: u64) -> (Vec<TraceEntry>, Vec<String>, u64) {
    let node = sim(
        seed,
        &[
            ("main.lua", MAIN),
            ("player.lua", PLAYER),
            ("store.lua", STORE),
            ("talk.lua", TALK),
        ],
    );
    // Six hours are more than the program takes.
    assert_eq!(node.run_for(2_160_000), SimEnd::Idle);
    let rounds = node.texts("round ");
    assert_eq!(rounds.len(), 5, "{:#?}", node.lines());
    // 12 players: 6 answers, 6 times 4 facts, and one for the busy loop; 5 talks.
    assert!(
        rounds[4].starts_with(&format!("5 {} ", 12 * (6 + 24 + 1) + 5)),
        "{:#?}",
        node.lines()
    );
    // Only an error would have the name of this run's directory in it.
    assert!(
        !node
            .lines()
            .iter()
            .any(|(_, line)| line.contains("traceback"))
    );
    let trace = node.node.trace().expect("recorded").entries();
    (trace, rounds, node.node.monotonic_ns())
}

#[test]
fn a_lua_program_and_a_seed_give_one_trace() {
    let (trace, rounds, end) = play(42);
    assert!(trace.len() > 2000, "{}", trace.len());
    for _ in 0..2 {
        let again = play(42);
        // Where they part says more than two traces of thousands of lines.
        let mut both = trace.iter().zip(&again.0).enumerate();
        assert_eq!(both.find(|(_, (a, b))| a != b), None);
        assert_eq!(
            (&rounds, trace.len(), end),
            (&again.1, again.0.len(), again.2)
        );
    }
    let other = play(43);
    assert_ne!(rounds, other.1);
    assert_ne!(trace, other.0);
}

#[test]
fn an_hour_of_timers_passes_in_a_moment() {
    let node = sim(
        1,
        &[(
            "main.lua",
            r#"
local skynet = require "skynet"
skynet.start(function()
    local began, time = skynet.now(), os.time()
    local fired = 0
    for i = 1, 3600 do
        skynet.timeout(i * 100, function()
            fired = fired + 1
            assert(skynet.now() - began == i * 100)
        end)
    end
    skynet.sleep(360001)
    skynet.error("fired", fired, skynet.now() - began, os.time() - time)
    skynet.error("DONE")
end)
"#,
        )],
    );
    let before = node.node.now();
    node.run_for(360_100);
    node.wait_for("DONE");
    assert_eq!(node.texts("fired "), ["3600 360001 3600"]);
    assert!(node.node.now() - before >= 360_001);
}

/// A loop that only time ends, in the ways that a hook could miss.
#[test]
fn a_loop_that_waits_for_the_clock_ends() {
    let node = start(
        &[(
            "main.lua",
            r#"
local skynet = require "skynet"
local c = require "skynet.core"
local function wait(centiseconds)
    local t = skynet.now()
    while skynet.now() - t < centiseconds do end
    return skynet.now() - t
end
c.error("loader", wait(10))
skynet.start(function()
    c.error("service", wait(100))
    c.error("coroutine", coroutine.wrap(wait)(10))
    local clock = os.clock()
    while os.clock() - clock < 0.1 do end
    local time = os.time()
    while os.time() == time do end
    c.error("os", os.time() - time)
    c.error("hook", debug.gethook())

    -- A program's hook is its own, and the clock's comes back after it.
    local lines = 0
    debug.sethook(function() lines = lines + 1 end, "l")
    local x = 1
    x = x + 1
    local mine = type(debug.gethook())
    debug.sethook()
    c.error("mine", mine, lines, debug.gethook())
    c.error("after", wait(10))
    skynet.fork(function()
        c.error("fork", wait(10))
        c.error "DONE"
    end)
end)
"#,
        )],
        Driver::Sim { seed: 1 },
    );
    node.wait_for("DONE");
    for (name, value) in [
        ("loader ", "10"),
        ("service ", "100"),
        ("coroutine ", "10"),
        ("os ", "1"),
        ("hook ", "nil"),
        ("mine ", "function 4 nil"),
        ("after ", "10"),
        ("fork ", "10"),
    ] {
        assert_eq!(node.texts(name), [value], "{name}");
    }
}

#[test]
fn the_calendar_is_the_nodes() {
    let node = start(
        &[(
            "main.lua",
            r#"
local skynet = require "skynet"
skynet.start(function()
    skynet.error("start", os.time() - skynet.starttime(), skynet.time() // 1 == os.time())
    skynet.sleep(86400 * 100)
    skynet.error("date", os.time() - skynet.starttime(), os.date "!%F", os.time(os.date "*t") == os.time())
    skynet.error("given", os.date("!%F %T", 0), (select(2, pcall(os.date, "%Ez"))))
    skynet.error "DONE"
end)
"#,
        )],
        Driver::Sim { seed: 1 },
    );
    node.run_for(86_400 * 100 + 100);
    node.wait_for("DONE");
    assert_eq!(node.texts("start "), ["0 true"]);
    assert_eq!(node.texts("date "), ["86400 2023-11-15 true"]);
    assert_eq!(
        node.texts("given "),
        ["1970-01-01 00:00:00 bad argument #1 to 'os.date' (invalid conversion specifier '%Ez')"]
    );
}
