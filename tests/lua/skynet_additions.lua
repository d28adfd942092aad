--- What docs/lua-additions.md describes: deadlines, timers, serial dispatch, no-yield sections, causes.
local skynet = require "skynet"
require "skynet.manager"
local test = require "test"

local eq, raises, has, at, eventually = test.eq, test.raises, test.has, test.at, test.eventually

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

case("call_timeout in time and late", function()
	local peer = test.peer()
	local function answer_after()
		skynet.dispatch("lua", function(_, _, cs, ...)
			skynet.sleep(cs)
			skynet.retpack(...)
		end)
		skynet.ret()
	end
	at(peer, answer_after)
	local from = test.log_end()
	eq(table.pack(skynet.call_timeout(6000, peer, "lua", 0, "a", nil)), { "a", nil, n = 2 })
	local now = skynet.now()
	local err = raises("call timeout " .. skynet.address(peer), skynet.call_timeout, 3, peer, "lua", 10, "late")
	eq(string.match(err, "^[^\n:]*:%d+: (.*)"), "call timeout " .. skynet.address(peer))
	assert(skynet.now() >= now + 3)
	eq(skynet.task(), 0)
	-- The late answer is dropped.
	eq(skynet.call(peer, "lua", 20, "next"), "next")
	eq(string.find(test.log(from), "Unknown session"), nil)
	raises("call timeout", skynet.call_timeout, 0, peer, "lua", 5)
	raises("call to invalid address", skynet.call_timeout, 5, 0xfff0, "lua")
	raises("bad argument", skynet.call_timeout, "soon", peer, "lua")
	raises("bad argument", skynet.call_timeout, nil, peer, "lua")
	raises("attempt to index a nil value", skynet.call_timeout, 5, peer, "nothing")
	skynet.kill(peer)
end)

case("call_timeout by many at once, with a callee that dies", function()
	local peer = test.peer()
	at(peer, function()
		skynet.dispatch("lua", function() skynet.response() end)
		skynet.ret()
	end)
	local calls = {}
	for i = 1, 50 do
		calls[i] = test.async(pcall, skynet.call_timeout, i % 2 == 0 and 1 or 6000, peer, "lua")
	end
	skynet.yield()
	for i = 2, 50, 2 do
		local ok, err = calls[i]()
		eq(ok, false)
		has(err, "call timeout")
	end
	skynet.send(peer, "debug", "EXIT")
	for i = 1, 50, 2 do
		local ok, err = calls[i]()
		eq(ok, false)
		has(err, "call failed")
	end
	eq(skynet.task(), 0)
end)

case("timer", function()
	local fired = {}
	local a = skynet.timer(2, function() fired.a = true end)
	local b = skynet.timer(2, function() fired.b = true end)
	local c = skynet.timer(0, function() fired.c = true end)
	eq(a:cancel(), true)
	eq(a:cancel(), false)
	eventually(function() return fired.b end)
	eq(fired, { b = true, c = true })
	eq(b:cancel(), false)
	eq(c:cancel(), false)
	eq(skynet.task(), 0)
	-- From inside itself, and from the message that came before.
	local self
	self = skynet.timer(1, function() fired.self = self:cancel() end)
	eventually(function() return fired.self ~= nil end)
	eq(fired.self, false)
	raises("bad argument", skynet.timer, {}, print)
	raises("bad argument", skynet.timer, 1)
	raises("bad argument", skynet.timer, 1, "text")
	-- Many, cancelled in any order.
	local timers, count = {}, 0
	for i = 1, 1000 do
		timers[i] = skynet.timer(i % 5, function() count = count + 1 end)
	end
	for i = 1000, 1, -2 do
		eq(timers[i]:cancel(), true)
	end
	eventually(function() return count == 500 end)
	skynet.sleep(5)
	eq(count, 500)
	eq(skynet.task(), 0)
end)

--- A service whose lua requests are served one after the other.
local function serial()
	local running, list = 0, {}
	local was = skynet.serial "lua"
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, cmd, ...)
			running = running + 1
			assert(running == 1)
			list[#list + 1] = cmd
			if cmd == "was" then
				skynet.retpack(was, skynet.serial "lua")
			elseif cmd == "list" then
				skynet.retpack(table.concat(list, " "))
			elseif cmd == "call" then
				skynet.retpack(pcall(skynet.call, ...))
			elseif cmd == "fail" then
				skynet.sleep(1)
				running = running - 1
				error "failed"
			elseif cmd == "answer first" then
				skynet.retpack()
				skynet.sleep(2)
			elseif cmd == "off" then
				skynet.retpack(skynet.serial("lua", false))
			elseif cmd == "wait" then
				skynet.wait "go"
				skynet.retpack()
			else
				skynet.yield()
				skynet.sleep(1)
				skynet.retpack(cmd, ...)
			end
			running = running - 1
		end)
	end)
end

case("serial dispatch: in order, errors included", function()
	local s = test.spawn(serial)
	eq({ skynet.call(s, "lua", "was") }, { false, true })
	local calls = {}
	for i = 1, 10 do
		calls[i] = test.async(skynet.call, s, "lua", "n" .. i, i, nil)
	end
	skynet.send(s, "lua", "sent")
	local failing = test.async(pcall, skynet.call, s, "lua", "fail")
	for i = 1, 10 do
		eq({ calls[i]() }, { "n" .. i, i })
	end
	eq((failing()), false)
	-- The request ends with its coroutine, not with its answer.
	skynet.call(s, "lua", "answer first")
	eq(skynet.call(s, "lua", "list"), "was sent n1 n2 n3 n4 n5 n6 n7 n8 n9 n10 fail answer first list")
	-- Others go on meanwhile.
	local waiting = test.async(skynet.call, s, "lua", "wait")
	local behind = test.async(skynet.call, s, "lua", "behind")
	skynet.yield()
	eq(select("#", skynet.call(s, "debug", "PING")), 0)
	skynet.call(s, "debug", "RUN", "require('skynet').wakeup 'go'")
	waiting()
	eq(behind(), "behind")
	eq(skynet.call(s, "lua", "off"), true)
	raises("attempt to index a nil value", skynet.serial, "nothing")
	skynet.kill(s)
end)

case("serial dispatch: a chain that comes back fails and is shown", function()
	local s, peer = test.spawn(serial), test.peer()
	at(peer, function(s)
		skynet.dispatch("lua", function() skynet.retpack(skynet.call(s, "lua", "back")) end)
		skynet.ret()
	end, s)
	skynet.name(".additions_serial", s)
	local ok, err = skynet.call(s, "lua", "call", peer, "lua")
	eq(ok, false)
	has(err, "serial dispatch would wait for itself")
	has(err, string.format("%s (.additions_serial) -> %s -> %s (.additions_serial)", skynet.address(s),
		skynet.address(peer), skynet.address(s)))
	-- Itself.
	ok, err = skynet.call(s, "lua", "call", s, "lua", "self")
	eq(ok, false)
	has(err, "serial dispatch would wait for itself")
	eq(skynet.call(s, "lua", "fine"), "fine")
	skynet.kill(s)
	skynet.kill(peer)
end)

case("serial dispatch: who waits when the service exits gets an error", function()
	local s = test.spawn(serial)
	local calls = { test.async(pcall, skynet.call, s, "lua", "wait") }
	for i = 2, 6 do
		calls[i] = test.async(pcall, skynet.call, s, "lua", "x")
	end
	skynet.yield()
	raises("call failed", skynet.call, s, "debug", "EXIT")
	for i = 1, 6 do
		eq((calls[i]()), false)
	end
end)

case("serial dispatch: a request that is killed lets the next one begin", function()
	local s = test.spawn(serial)
	local waiting = test.async(pcall, skynet.call, s, "lua", "wait")
	skynet.yield()
	local next_one = test.async(pcall, skynet.call, s, "lua", "next")
	skynet.yield()
	skynet.call(s, "debug", "RUN", "require('skynet').killthread 'thread'")
	eq((waiting()), false)
	-- The killed one never counted itself out, so the next fails by its assertion: it has run.
	local ok, err = next_one()
	eq(ok, false)
	has(err, "assertion failed!")
	skynet.kill(s)
end)

case("noyield", function()
	eq(table.pack(skynet.noyield(function(...) return ... end, nil, 2, nil)), { n = 3, [2] = 2 })
	for name, f in pairs {
		sleep = function() skynet.sleep(1) end,
		yield = function() skynet.yield() end,
		wait = function() skynet.wait() end,
		call = function() skynet.call(".launcher", "lua", "LIST") end,
		call_timeout = function() skynet.call_timeout(10, ".launcher", "lua", "LIST") end,
		rawcall = function() skynet.rawcall(".launcher", "lua", skynet.packstring "LIST") end,
		tracecall = function() skynet.tracecall("t", ".launcher", "lua", skynet.packstring "LIST") end,
		newservice = function() skynet.newservice "suite_peer" end,
		uniqueservice = function() skynet.uniqueservice "suite_peer" end,
		select = function() for _ in skynet.request { ".launcher", "lua", "LIST" }:select() do end end,
		nested = function() skynet.noyield(skynet.yield) end,
	} do
		local ok, err = pcall(skynet.noyield, f)
		eq(ok, false, name)
		has(err, "attempt to yield inside the no-yield section entered at ")
	end
	-- It is over after an error, and what does not yield is allowed.
	skynet.yield()
	local ran
	skynet.noyield(function()
		skynet.fork(function() ran = skynet.yield() == nil end)
		skynet.send(skynet.self(), "debug", "PING")
		eq(coroutine.wrap(function() coroutine.yield(5) end)(), 5)
	end)
	skynet.yield()
	skynet.yield()
	eq(ran, true)
	eq({ pcall(skynet.noyield, function() error { 7 } end) }, { false, { 7 } })
	raises("bad argument", skynet.noyield)
	eq(skynet.task(), 0)
end)

case("causes of errors", function()
	local a, b = test.peer(), test.peer()
	local function failure(...)
		local err = raises("call failed", at, ...)
		eq(string.match(err, "^[^\n:]*:%d+: ([^\n]*)"), "call failed")
		return err
	end
	local err = failure(a, function() error "the cause" end)
	has(err, "\n" .. skynet.address(a) .. " suite_peer: ")
	has(err, "the cause")
	eq(string.find(err, "stack traceback", 1, true), nil)
	-- Through two services: both are named.
	err = failure(a, function(b) test.at(b, function() error "deep down" end) end, b)
	has(err, skynet.address(a))
	has(err, skynet.address(b))
	has(err, "deep down")
	err = failure(a, function() skynet.response()(false, "refused because") end)
	has(err, "refused because")
	err = failure(a, function() skynet.exit() end)
	has(err, "exited")
	skynet.kill(b)
end)

case("an idle service is collected without a message", function()
	local peer = test.peer()
	at(peer, function()
		for i = 1, 10000 do
			local t = { i, tostring(i) }
		end
		garbage = setmetatable({}, { __gc = function() os.remove "idle_marker" end })
		garbage = nil
		skynet.ret()
	end)
	local file = assert(io.open("idle_marker", "w"))
	file:close()
	eventually(function() return not io.open "idle_marker" end, "the collection of an idle service")
	skynet.kill(peer)
end)

test.run(cases)
