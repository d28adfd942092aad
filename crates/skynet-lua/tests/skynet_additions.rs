//! What module `skynet` has beyond upstream's: deadlines of calls, cancellable
//! timers, serial dispatch, no-yield sections, causes of errors.

mod common;

use common::{DRIVERS, start_with};
use skynet_core::Driver;

/// What every program begins with.
const HEAD: &str = r##"
local skynet = require "skynet"
require "skynet.manager"
local mode = ...
local function equal(got, expected)
	if got ~= expected then
		error(string.format("got %s, expected %s", got, expected), 2)
	end
end
local function has(text, part)
	if not string.find(tostring(text), part, 1, true) then
		error(string.format("%q is not in %q", part, tostring(text)), 2)
	end
end
"##;

/// Runs a program as service `main` of a whole node, until it logs DONE.
fn check(driver: Driver, program: &str) -> Vec<(u32, String)> {
    let source = format!("{HEAD}{program}");
    let node = start_with(&[("main.lua", &source)], driver, |builder| {
        builder
            .env("bootstrap", "snlua bootstrap")
            .env("start", "main")
    });
    let line = node.wait_for_any(&["DONE", "init service failed", "lua loader error"]);
    assert_eq!(line, "DONE", "{:#?}", node.lines());
    node.stop()
}

fn check_all(program: &str) {
    for driver in DRIVERS {
        check(driver, program);
    }
}

#[test]
fn a_call_with_a_deadline_fails_in_time_and_drops_the_late_answer() {
    check_all(
        r##"
if mode == "srv" then
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, ti, v)
			skynet.sleep(ti)
			skynet.retpack(v)
		end)
	end)
	return
end
skynet.start(function()
	local s = skynet.newservice("main", "srv")
	equal(skynet.call_timeout(1000, s, "lua", 1, "in time"), "in time")
	local t = skynet.now()
	local ok, err = pcall(skynet.call_timeout, 10, s, "lua", 50, "late")
	equal(ok, false)
	has(err, ": call timeout " .. skynet.address(s))
	assert(skynet.now() - t >= 10)
	equal(skynet.task(), 0)
	-- The late answer comes now and meets nobody.
	equal(skynet.call(s, "lua", 60, "after"), "after")
	equal(pcall(skynet.call_timeout, 10, 0xfff, "lua"), false)
	equal(select("#", skynet.call_timeout(10, s, "debug", "PING")), 0)
	skynet.error "DONE"
end)
"##,
    );
    let lines = check(
        Driver::Sim { seed: 3 },
        r##"
if mode == "srv" then
	skynet.start(function() skynet.dispatch("lua", function() skynet.sleep(20) skynet.retpack(1) end) end)
	return
end
skynet.start(function()
	local s = skynet.newservice("main", "srv")
	pcall(skynet.call_timeout, 1, s, "lua")
	skynet.sleep(100)
	skynet.error "DONE"
end)
"##,
    );
    assert!(
        !lines.iter().any(|(_, l)| l.contains("Unknown session")),
        "{lines:#?}"
    );
}

#[test]
fn a_timer_can_be_cancelled() {
    check_all(
        r##"
skynet.start(function()
	local fired = 0
	local function f() fired = fired + 1 end
	local a, b = skynet.timer(5, f), skynet.timer(5, f)
	equal(a:cancel(), true)
	equal(a:cancel(), false)
	skynet.sleep(20)
	equal(fired, 1)
	equal(b:cancel(), false)
	-- Also when somebody has listed the tasks meanwhile.
	local c = skynet.timer(5, f)
	skynet.task {}
	equal(skynet.task(), 1)
	equal(c:cancel(), true)
	equal(skynet.task(), 0)
	skynet.sleep(20)
	equal(fired, 1)
	equal(pcall(skynet.timer, 1), false)
	equal(pcall(skynet.timer, {}, f), false)
	skynet.error "DONE"
end)
"##,
    );
}

#[test]
fn serial_requests_run_one_after_the_other() {
    check_all(
        r##"
if mode == "srv" then
	local running, log = 0, {}
	skynet.serial "lua"
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, cmd, n)
			if cmd == "log" then
				return skynet.retpack(table.concat(log, " "))
			elseif cmd == "fail" then
				skynet.sleep(1)
				error "failed"
			end
			running = running + 1
			assert(running == 1)
			log[#log + 1] = n
			skynet.sleep(3)
			skynet.yield()
			running = running - 1
			if cmd == "call" then skynet.retpack(n) end
		end)
	end)
	return
end
skynet.start(function()
	local s = skynet.newservice("main", "srv")
	local done = 0
	for i = 1, 5 do
		skynet.fork(function()
			equal(skynet.call(s, "lua", "call", i), i)
			done = done + 1
			equal(done, i)
		end)
	end
	skynet.send(s, "lua", "send", 6)
	skynet.fork(function() equal(pcall(skynet.call, s, "lua", "fail"), false) end)
	skynet.yield()
	-- Other protocols go on meanwhile.
	skynet.call(s, "debug", "PING")
	equal(skynet.call(s, "lua", "log"), "6 1 2 3 4 5")
	equal(done, 5)
	skynet.error "DONE"
end)
"##,
    );
}

#[test]
fn a_request_that_would_wait_for_itself_fails_and_shows_the_chain() {
    check_all(
        r##"
if mode == "a" then
	skynet.serial "lua"
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, cmd, other, ...)
			if cmd == "via" then
				skynet.retpack(pcall(skynet.call, other, "lua", "back", skynet.self()))
			elseif cmd == "free" then
				-- Another task of the other service calls meanwhile: no cycle.
				skynet.retpack(skynet.call(other, "lua", "poke", skynet.self()))
			else
				skynet.retpack "reached"
			end
		end)
	end)
	return
elseif mode == "b" then
	local poked
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, cmd, back)
			if cmd == "back" then
				skynet.retpack(skynet.call(back, "lua", "x"))
			elseif cmd == "poke" then
				skynet.fork(function() poked = skynet.call(back, "lua", "x") end)
				skynet.sleep(5)
				skynet.retpack "fine"
			else
				skynet.retpack(poked)
			end
		end)
	end)
	return
end
skynet.start(function()
	local a, b = skynet.newservice("main", "a"), skynet.newservice("main", "b")
	skynet.name(".serial", a)
	local ok, err = skynet.call(a, "lua", "via", b)
	equal(ok, false)
	has(err, "call failed")
	has(err, "serial dispatch would wait for itself")
	has(err, string.format("%s -> %s (.serial) -> %s -> %s (.serial)", skynet.address(skynet.self()),
		skynet.address(a), skynet.address(b), skynet.address(a)))
	equal(skynet.call(a, "lua", "x"), "reached")
	equal(skynet.call(a, "lua", "free", b), "fine")
	skynet.sleep(5)
	equal(skynet.call(b, "lua", "poked"), "reached")
	-- The service exits with requests that wait: they fail.
	local failed = 0
	for i = 1, 3 do
		skynet.fork(function()
			if not pcall(skynet.call, a, "lua", "free", b) then failed = failed + 1 end
		end)
	end
	skynet.yield()
	skynet.send(a, "debug", "EXIT")
	skynet.sleep(20)
	equal(failed, 3)
	skynet.error "DONE"
end)
"##,
    );
}

#[test]
fn a_section_without_yields_refuses_to_yield() {
    check_all(
        r##"
skynet.start(function()
	equal(select("#", skynet.noyield(function(...) return ... end, 1, nil, nil)), 3)
	for name, f in pairs {
		call = function() skynet.call(".launcher", "lua", "LIST") end,
		sleep = function() skynet.sleep(1) end,
		wait = function() skynet.wait() end,
		yield = function() skynet.yield() end,
		exit = function() skynet.exit() end,
		rawcall = function() skynet.rawcall(".launcher", "lua", skynet.packstring "LIST") end,
		newservice = function() skynet.newservice "main" end,
		raw = function() coroutine.yield(1) end,
	} do
		local ok, err = pcall(skynet.noyield, f)
		equal(ok, false)
		has(err, "attempt to yield inside the no-yield section entered at ")
		-- Both places: this call, and the function's line.
		local _, places = string.gsub(err, "main%.lua:%d+", "")
		equal(places, 2)
	end
	equal(skynet.task(), 0)
	-- What does not yield is allowed; the section ends with it.
	skynet.noyield(function()
		skynet.fork(function() end)
		skynet.timeout(0, function() end)
		skynet.send(skynet.self(), "debug", "PING")
		skynet.noyield(function() end)
		local co = coroutine.wrap(function() coroutine.yield(1) end)
		equal(co(), 1)
	end)
	local ok, err = pcall(skynet.noyield, function() error { 7 } end)
	equal(err[1], 7)
	skynet.sleep(1)
	skynet.error "DONE"
end)
"##,
    );
}

#[test]
fn an_error_reply_says_which_service_failed_and_why() {
    check_all(
        r##"
if mode == "srv" then
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, cmd, other)
			if cmd == "error" then
				error "boom"
			elseif cmd == "object" then
				error(setmetatable({}, { __tostring = function() return "an object" end }))
			elseif cmd == "chain" then
				skynet.call(other, "lua", "error")
			elseif cmd == "refuse" then
				skynet.response()(false, "not today")
			elseif cmd == "exit" then
				skynet.exit()
			elseif cmd == "keep" then
				skynet.response()
			end
		end)
	end)
	return
end
skynet.start(function()
	local s, t = skynet.newservice("main", "srv"), skynet.newservice("main", "srv")
	local function failure(...)
		local ok, err = pcall(skynet.call, ...)
		equal(ok, false)
		-- Exactly one position, then upstream's text.
		local text = string.match(err, "^[^\n:]*:%d+: ([^\n]*)")
		equal(text, "call failed")
		return err
	end
	local name = string.format(":%08x main: ", s)
	has(failure(s, "lua", "error"), "\n" .. name .. "")
	has(failure(s, "lua", "error"), ": boom")
	has(failure(s, "lua", "object"), name .. "an object")
	local chain = failure(t, "lua", "chain", s)
	has(chain, string.format(":%08x main: ", t))
	has(chain, ": boom")
	assert(not string.find(chain, "traceback", 1, true))
	has(failure(s, "lua", "refuse"), "not today")
	skynet.register_protocol { name = "odd", id = 200, pack = skynet.pack, unpack = skynet.unpack }
	has(failure(s, "odd"), "no protocol with id 200")
	skynet.fork(function() has(failure(s, "lua", "keep"), "the service has exited") end)
	has(failure(s, "lua", "exit"), "the service has exited")
	skynet.sleep(5)
	skynet.error "DONE"
end)
"##,
    );
}
