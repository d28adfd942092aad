--- The protocol `debug`, skynet.debug, skynet.inject and skynet.injectcode.
local skynet = require "skynet"
require "skynet.manager"
local test = require "test"

local eq, raises, has, at, eventually = test.eq, test.raises, test.has, test.at, test.eventually

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

local peer

local function ask(...)
	return skynet.call(peer, "debug", ...)
end

case("every service answers, without any registration (trap 41)", function()
	peer = test.peer()
	for address in pairs(skynet.call(".launcher", "lua", "LIST")) do
		eq(select("#", skynet.call(address, "debug", "PING")), 0)
	end
	for _, name in ipairs { ".launcher", ".service", ".cslave" } do
		eq(select("#", skynet.call(name, "debug", "PING")), 0)
	end
end)

case("MEM, STAT", function()
	eq(math.type(ask "MEM"), "float")
	assert(ask "MEM" > 1)
	local stat = ask "STAT"
	eq(math.type(stat.task), "integer")
	eq(math.type(stat.mqlen), "integer")
	eq(math.type(stat.message), "integer")
	eq(math.type(stat.cpu), "float")
	eq(ask "STAT".message, stat.message + 1)
end)

case("GC", function()
	local from = test.log_end()
	at(peer, function() garbage = string.rep("x", 1 << 20) garbage = nil skynet.ret() end)
	skynet.send(peer, "debug", "GC")
	local log = test.logged("cost ", from)
	assert(string.find(log, "GC %d+%.%d%d Kb %-> %d+%.%d%d Kb, cost %d+%.%d%d sec"))
end)

case("TASK, UNIQTASK, KILLTASK", function()
	local first, second = test.async(pcall, at, peer, function()
		first_thread = coroutine.running()
		skynet.wait "first"
	end), test.async(pcall, at, peer, function() skynet.wait "second" skynet.retpack "second" end)
	eventually(function() return at(peer, function() skynet.retpack(skynet.task()) end) == 2 end)
	local count, session, name = 0, nil, nil
	for key, traceback in pairs(ask "TASK") do
		count = count + 1
		has(traceback, "stack traceback:")
		name, session = string.match(key, "^(thread: 0x%x+) session: (%d+)$")
	end
	eq(count, 2)
	has(ask("TASK", tonumber(session)), "stack traceback:")
	eq(ask("TASK", 0x7ffffff0), "No session")
	local sessions = 0
	for key, traceback in pairs(ask "UNIQTASK") do
		sessions = sessions + tonumber(string.match(key, "^(%d+)\tsessions:%[[%d,]+%]\n?$"))
		has(traceback, "stack traceback:")
	end
	eq(sessions, 2)
	eq(type(name), "string")
	local from = test.log_end()
	eq(ask("KILLTASK", "no such task"), "Not found")
	test.logged("Kill no such task : Not found", from)
	local thread = at(peer, function() skynet.retpack(tostring(first_thread)) end)
	eq(ask("KILLTASK", string.match(thread, "0x%x+")), nil)
	test.logged("Kill " .. thread, from)
	local ok, err = first()
	eq(ok, false)
	has(err, "call failed")
	at(peer, function() skynet.wakeup "second" skynet.ret() end)
	eq({ second() }, { true, "second" })
end)

case("INFO and info_func", function()
	eq(table.pack(ask("INFO")), { n = 1 })
	at(peer, function()
		skynet.info_func(function(...) return "info", ... end)
		skynet.ret()
	end)
	eq({ ask("INFO", 1, "x") }, { "info", 1, "x" })
	at(peer, function()
		skynet.info_func(function() error "info failed" end)
		skynet.ret()
	end)
	test.cause(raises("call failed", ask, "INFO"), "info failed")
end)

case("RUN", function()
	at(peer, function() global_of_service = "global" skynet.ret() end)
	eq({ ask("RUN", "print('a', 1, true) print(...) print(global_of_service)", "run", "x", 2) },
		{ true, "a\t1\ttrue\nx\t2\nglobal" })
	-- Writes stay in the patch's own table; it may yield.
	eq({ ask("RUN", "written = 1 require('skynet').sleep(1) print(written)") }, { true, "1" })
	eq(at(peer, function() skynet.retpack(written) end), nil)
	local ok, text = ask("RUN", "print 'before' error 'in run'", "file")
	eq(ok, false)
	has(text, "before\n")
	has(text, "file:1: in run")
	ok, text = ask("RUN", "x = = 1", "file")
	eq(ok, false)
	has(text, "file:1:")
	-- State is found by names of upvalues (trap 43).
	ok, text = skynet.call(".launcher", "debug", "RUN", "print(type(_P.lua.command.LAUNCH), type(_U), type(_P.debug))")
	eq({ ok, text }, { true, "function\ttable\ttable" })
end)

case("TERM, SUPPORT, PING, LINK", function()
	local other = test.peer()
	local waiting = test.async(pcall, at, peer, function(other)
		skynet.retpack(pcall(test.at, other, function() skynet.response() end))
	end, other)
	eventually(function() return at(peer, function() skynet.retpack(skynet.task()) end) == 1 end)
	skynet.send(peer, "debug", "TERM", other)
	local ok, result = waiting()
	eq({ ok, result }, { true, false })
	eq(ask("SUPPORT", "lua"), true)
	eq(ask("SUPPORT", "debug"), true)
	eq(ask("SUPPORT", "response"), false)
	eq(ask("SUPPORT", "nothing"), false)
	eq(select("#", ask "PING"), 0)
	local link = test.async(pcall, skynet.call, other, "debug", "LINK")
	skynet.yield()
	skynet.call(other, "debug", "PING")
	raises("call failed", skynet.call, other, "debug", "EXIT")
	eq((link()), false)
end)

case("TRACELOG", function()
	local from = test.log_end()
	eq(ask("TRACELOG", true), nil)
	test.logged("Turn trace log true for lua", from)
	at(peer, function() skynet.ret() end)
	test.logged(" trace\n", from)
	ask("TRACELOG", "lua", false)
	test.logged("Turn trace log false for lua", from)
	ask("TRACELOG", nil)
	raises("call failed", ask, "TRACELOG", "no such protocol", true)
	eq(at(peer, function() skynet.retpack(skynet.tracetag()) end), nil)
end)

case("unknown commands, and extensions", function()
	test.cause(raises("call failed", ask, "NOPE"), "NOPE")
	at(peer, function()
		local debug = require "skynet.debug"
		debug.reg_debugcmd("MINE", function(...) skynet.retpack("mine", ...) end)
		debug.reg_debugcmd("PING", function() skynet.retpack "not the built-in one" end)
		skynet.ret()
	end)
	eq({ ask("MINE", 1) }, { "mine", 1 })
	eq(select("#", ask "PING"), 0)
	-- What the framework calls for the first message of the protocol.
	local debug = require "skynet.debug"
	local dispatch = debug.init(skynet, { info = function() end })
	has(select(2, pcall(dispatch, 0, 0, "NOPE")), "NOPE")
	dispatch(0, 0, "TERM", 0xfff0)
end)

case("EXIT", function()
	local from = test.log_end()
	local gone = test.peer()
	raises("call failed", skynet.call, gone, "debug", "EXIT")
	raises("call to invalid address", skynet.call, gone, "debug", "PING")
	test.logged("KILL self", from)
end)

case("inject", function()
	local inject = require "skynet.inject"
	local hidden = { value = 7 }
	local function f() return hidden end
	local ok, lines = inject(skynet, "print(_U.hidden.value, ...)", "file", table.pack("arg", nil), f)
	eq({ ok, lines[1] }, { true, "7\targ\tnil" })
	local ok2, lines2 = inject(skynet, "error 'inside'", "file", table.pack(), f)
	eq(ok2, false)
	has(lines2[#lines2], "file:1: inside")
end)

case("injectcode", function()
	local run = require "skynet.injectcode"
	local up = "upvalue"
	local co = coroutine.create(function(...)
		local value = 5
		coroutine.yield(up)
		return value
	end)
	coroutine.resume(co, "vararg")
	-- Level 0 is the native yield.
	eq({ run("return value, up, ...", co, 1, {}) }, { true, 5, "upvalue", "vararg" })
	eq((run("value = value + 1 up = 'changed'", co, 1, {})), true)
	eq(up, "changed")
	eq({ run("return extra", co, 1, { extra = 3 }) }, { true, 3 })
	local ok, err = run("return nothing.x", co, 1, {})
	eq(ok, false)
	has(err, "(debug)")
	eq((run("x = = 1", co, 1, {})), false)
	eq({ coroutine.resume(co) }, { true, 6 })
end)

case("debugchannel", function()
	local channel = require "skynet.debugchannel"
	local a, pointer = channel.create()
	local b = channel.connect(pointer)
	raises("new channel failed", channel.connect, pointer)
	raises("Invalid channel pointer", channel.connect, nil)
	eq(select("#", b:read()), 0)
	a:write "one"
	a:write "two"
	eq(b:read(), "one")
	eq(b:read(1), "two")
	eq(select("#", b:read(1)), 0)
	local lines = {}
	local co = coroutine.create(function()
		local x = 1
		x = x + 1
		return x
	end)
	channel.sethook(co, function(event, line)
		lines[#lines + 1] = line
		return event == "line"
	end, "l")
	local steps = 0
	while coroutine.status(co) ~= "dead" do
		assert(coroutine.resume(co))
		steps = steps + 1
	end
	assert(#lines >= 3 and steps >= 3)
	eq(type(channel.release), "function")
end)

test.run(cases)
