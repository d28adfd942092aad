//! The scheduler of module `skynet`, where the vectors do not look.

mod common;

use common::{DRIVERS, TestNode, start_with};
use skynet_core::{Driver, Payload, ptype};

const HEAD: &str = r##"
local skynet = require "skynet"
require "skynet.manager"
local mode, argument = ...
local function equal(got, expected)
	if got ~= expected then
		error(string.format("got %s, expected %s", got, expected), 2)
	end
end
"##;

fn node(driver: Driver, program: &str) -> TestNode {
    let source = format!("{HEAD}{program}");
    start_with(&[("main.lua", &source)], driver, |builder| {
        builder
            .env("bootstrap", "snlua bootstrap")
            .env("start", "main")
    })
}

fn finish(node: TestNode) -> Vec<(u32, String)> {
    let line = node.wait_for_any(&["DONE", "init service failed", "lua loader error"]);
    assert_eq!(line, "DONE", "{:#?}", node.lines());
    node.stop()
}

fn check_all(program: &str) {
    for driver in DRIVERS {
        finish(node(driver, program));
    }
}

#[test]
fn a_timer_whose_coroutine_nobody_wants_has_none() {
    check_all(
        r##"
skynet.start(function()
	local fired, last = 0, 0
	local function f(ok, msg, sz, session)
		assert(ok == true and type(msg) == "userdata" and sz == 0 and session > last)
		last = session
		fired = fired + 1
	end
	collectgarbage()
	local before = collectgarbage "count"
	for _ = 1, 10000 do
		skynet.timeout(5, f)
	end
	-- An anchor slot each, where a thread takes a kilobyte.
	assert(collectgarbage "count" - before < 400)
	equal(skynet.task(), 10000)
	skynet.sleep(20)
	equal(fired, 10000)
	equal(skynet.task(), 0)
	-- Listed, each is a task of its own.
	skynet.timeout(5, f)
	skynet.timeout(5, f)
	local list = {}
	skynet.task(list)
	local n = 0
	for key, traceback in pairs(list) do
		assert(string.find(key, "^thread: 0x%x+ session: %d+$"), key)
		equal(traceback, "stack traceback:")
		n = n + 1
	end
	equal(n, 2)
	equal(type(skynet.killthread "thread"), "thread")
	skynet.sleep(20)
	equal(fired, 10001)
	skynet.error "DONE"
end)
"##,
    );
}

#[test]
fn sessions_in_use_are_skipped_when_the_numbers_wrap() {
    let node = node(
        Driver::Sim { seed: 1 },
        r##"
skynet.start(function()
	local woken = {}
	for i = 1, 3 do
		skynet.fork(function() skynet.wait(i) woken[i] = true end)
	end
	skynet.yield()
	skynet.error "WAITING"
	skynet.wait "go"
	local seen = {}
	for i = 1, 8 do
		seen[i] = skynet.genid()
		-- Those in use are never given out.
		assert(skynet.task(seen[i]) == "No session", seen[i])
	end
	-- Timers and calls work across the wrap.
	skynet.sleep(1)
	skynet.call(".launcher", "lua", "LIST")
	for i = 1, 3 do assert(skynet.wakeup(i)) end
	skynet.yield()
	assert(woken[1] and woken[2] and woken[3])
	skynet.error(table.concat(seen, " "))
	skynet.error "DONE"
end)
skynet.dispatch("lua", function() skynet.wakeup "go" end)
skynet.register(".wrap")
"##,
    );
    node.run_for(100);
    let handle = node.node.find_name(b"wrap").unwrap();
    let context = node.node.context(handle).unwrap();
    // Nothing runs now, so this thread may draw numbers for the service.
    while context.new_session() != i32::MAX - 3 {}
    node.node
        .send(0, handle, ptype::LUA, 0, Payload::null())
        .unwrap();
    let lines = finish(node);
    assert!(
        lines
            .iter()
            .any(|(_, l)| l.starts_with("2147483645 2147483646 2147483647 ")),
        "{lines:#?}"
    );
}

#[test]
fn functions_and_fields_that_user_code_replaces_are_used() {
    check_all(
        r##"
if mode == "srv" then
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, ...) skynet.retpack(...) end)
	end)
	return
end
skynet.start(function()
	local s = skynet.newservice("main", "srv")
	local p = skynet._proto.lua
	equal(p, skynet._proto[skynet.PTYPE_LUA])
	local pack, unpack = p.pack, p.unpack
	equal(pack, skynet.pack)
	-- A packer that returns a string, an unpacker that waits.
	p.pack = function(...) return skynet.packstring("packed", ...) end
	p.unpack = function(msg, sz)
		local text = skynet.tostring(msg, sz)
		skynet.sleep(1)
		return "unpacked", unpack(text)
	end
	local a, b, c = skynet.call(s, "lua", 1)
	equal(a, "unpacked") equal(b, "packed") equal(c, 1)
	p.pack, p.unpack = pack, unpack
	-- retpack goes through skynet.pack and skynet.ret.
	local ret, got = skynet.ret
	skynet.dispatch("lua", function(_, _, ...) skynet.retpack(...) end)
	skynet.ret = function(msg, sz) got = skynet.tostring(msg, sz) return ret(msg, sz) end
	equal(skynet.call(skynet.self(), "lua", "x"), "x")
	equal(got, skynet.packstring "x")
	skynet.ret = ret
	skynet.pack = function(...) return skynet.packstring("mine", ...) end
	a, b = skynet.call(skynet.self(), "lua", "x")
	equal(a, "mine") equal(b, "x")
	skynet.pack = pack
	-- All functions are there, also those that are found by name only.
	local names = {}
	for name in pairs(skynet) do names[name] = true end
	for _, name in ipairs { "call", "trace", "PTYPE_TEXT", "serial", "stat", "_proto", "cache" } do
		assert(names[name] and skynet[name] ~= nil, name)
	end
	equal(skynet.PTYPE_TRACE, 12)
	equal(skynet.nothing, nil)
	skynet.error "DONE"
end)
"##,
    );
}

#[test]
fn woken_coroutines_run_in_order_however_many() {
    check_all(
        r##"
skynet.start(function()
	local n <const> = 20000
	local order = {}
	for i = 1, n do
		skynet.fork(function() skynet.wait(i) order[#order + 1] = i end)
	end
	skynet.yield()
	for i = n, 1, -1 do assert(skynet.wakeup(i)) end
	equal(#order, 0)
	skynet.yield()
	equal(#order, n)
	for i = 1, n do equal(order[i], n + 1 - i) end
	equal(skynet.task(), 0)
	skynet.error "DONE"
end)
"##,
    );
}

#[test]
fn a_parked_coroutine_is_garbage_and_its_errors_stay_its_own() {
    check_all(
        r##"
skynet.start(function()
	local weak = setmetatable({}, { __mode = "k" })
	for _ = 1, 10 do
		skynet.fork(function()
			weak[coroutine.running()] = true
			coroutine.yield()
		end)
	end
	skynet.yield()
	collectgarbage() collectgarbage()
	equal(next(weak), nil)
	-- One error more, one coroutine less, everything else goes on.
	for i = 1, 100 do
		skynet.fork(function() if i % 2 == 0 then error { i } end skynet.sleep(1) end)
	end
	skynet.yield()
	equal(skynet.task(), 50)
	skynet.sleep(5)
	equal(skynet.task(), 0)
	skynet.error "DONE"
end)
"##,
    );
}

#[test]
fn an_answer_can_be_passed_on_as_it_is() {
    check_all(
        r##"
if mode == "echo" then
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, ...) skynet.retpack(...) end)
	end)
	return
elseif mode == "proxy" then
	skynet.start(function()
		skynet.dispatch("lua", function(_, source, to, ...)
			-- Not copied by hand, and freed once.
			skynet.ret(skynet.rawcall(to, "lua", skynet.pack(...)))
		end)
	end)
	return
end
skynet.start(function()
	local echo, proxy = skynet.newservice("main", "echo"), skynet.newservice("main", "proxy")
	for _, text in ipairs { "", "short", string.rep("long", 100), string.rep("x", 100000) } do
		equal(skynet.call(proxy, "lua", echo, text), text)
	end
	skynet.error "DONE"
end)
"##,
    );
}

/// A service at the limit of its memory fails its requests, one by one, and
/// nothing else; with memory again it works again.
#[test]
fn a_service_without_memory_fails_only_its_requests() {
    let node = node(
        Driver::Sim { seed: 1 },
        r##"
if mode == "srv" then
	skynet.memlimit(math.tointeger(argument))
	skynet.start(function()
		local kept = {}
		skynet.dispatch("lua", function(_, _, cmd, ...)
			if cmd == "fill" then
				for i = 1, 1 << 30 do kept[i] = { ... } end
			elseif cmd == "all" then
				skynet.fork(function() skynet.sleep(1) end)
				skynet.timeout(1, function() end)
				skynet.fork(function() skynet.call(".launcher", "lua", "LIST") end)
				skynet.sleep(1)
				skynet.packstring { 1, { 2 }, x = "y" }
				return skynet.response()(true, "ok")
			end
			skynet.retpack "ok"
		end)
	end)
	return
end
skynet.start(function()
	local answered, failed = 0, 0
	for step = 0, 250 do
		local ok, s = pcall(skynet.newservice, "main", "srv", 30000 + step * 100)
		if ok then
			for _, cmd in ipairs { "all", "fill", "all", "x", "all" } do
				-- Whatever happens, the caller hears of it.
				local done, err = pcall(skynet.call_timeout, 1000, s, "lua", cmd, string.rep("z", step))
				if done then
					answered = answered + 1
				else
					assert(not string.find(err, "call timeout", 1, true), err)
					failed = failed + 1
				end
			end
			skynet.kill(s)
		end
	end
	assert(failed > 50, failed)
	assert(answered > 20, answered)
	skynet.error "DONE"
end)
"##,
    );
    node.run_for(10_000_000);
    finish(node);
}
