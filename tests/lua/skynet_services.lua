--- Module skynet: services, their start and their end; skynet.init and require.
local skynet = require "skynet"
require "skynet.manager"
local test = require "test"

local eq, raises, has, eventually = test.eq, test.raises, test.has, test.eventually

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

--- A service that waits in its start function until somebody sends "go".
local function slow()
	skynet.dispatch("lua", function(session)
		skynet.wakeup "go"
		if session ~= 0 then
			skynet.retpack "dispatched"
		end
	end)
	skynet.start(function()
		require "skynet.manager".register ".services_slow"
		skynet.wait "go"
	end)
end

case("newservice passes words and waits for the start function", function()
	local handle = test.spawn(function(...)
		local args = table.pack(...)
		skynet.start(function()
			skynet.yield()
			skynet.dispatch("lua", function() skynet.retpack(args, SERVICE_NAME) end)
		end)
	end, 1, 2.5, "a b", "x")
	local args, name = skynet.call(handle, "lua")
	eq(args, { "1", "2.5", "a", "b", "x", n = 5 })
	eq(name, "suite_script")
	skynet.kill(handle)
end)

case("requests during a suspended start are dispatched (trap 27)", function()
	local starting = test.async(test.spawn, slow)
	eventually(function() return skynet.localname ".services_slow" end)
	eq(skynet.call(".services_slow", "lua"), "dispatched")
	local handle = starting()
	eq(skynet.localname ".services_slow", handle)
	skynet.kill(handle)
	eventually(function() return not skynet.localname ".services_slow" end)
end)

case("newservice that fails", function()
	local from = test.log_end()
	raises("call failed", skynet.newservice, "no_such_service")
	raises("call failed", test.spawn, function() error "in main" end)
	raises("call failed", test.spawn, function() skynet.start(function() error "in start" end) end)
	raises("call failed", test.spawn, function()
		skynet.init(function() error "in init" end)
		skynet.start(function() end)
	end)
	raises("call failed", skynet.newservice, "suite_peer", true)
	raises("call failed", skynet.newservice, "suite_peer", {})
	local log = test.logged("in init", from)
	assert(string.find(log, "init service failed: [^\n]*in start"))
	assert(string.find(log, "lua loader error : [^\n]*in main"))
	has(log, "cannot open ")
	-- A killed one, too.
	local starting = test.async(pcall, test.spawn, slow)
	eventually(function() return skynet.localname ".services_slow" end)
	skynet.kill(skynet.localname ".services_slow")
	local ok, err = starting()
	eq(ok, false)
	has(err, "call failed")
end)

case("newservice of one that exits in start gives nothing (trap 37)", function()
	eq(select("#", test.spawn(function() skynet.start(function() skynet.exit() end) end)), 0)
	eq(select("#", test.spawn(function() skynet.exit() end)), 0)
	eq(select("#", test.spawn(function()
		skynet.start(function() skynet.yield() pcall(skynet.exit) end)
	end)), 0)
end)

case("the main chunk cannot yield (1.4)", function()
	local handle = test.spawn(function()
		local ok, err = pcall(skynet.call, ".launcher", "lua", "LIST")
		local ok2, err2 = pcall(skynet.sleep, 1)
		skynet.send(".launcher", "lua", "nothing")
		skynet.fork(function() forked = true end)
		skynet.start(function()
			skynet.dispatch("lua", function() skynet.retpack(ok, err, ok2, err2, forked) end)
		end)
	end)
	local ok, err, ok2, err2, forked = skynet.call(handle, "lua")
	eq(ok, false)
	has(err, "attempt to yield from outside a coroutine")
	eq(ok2, false)
	has(err2, "attempt to yield from outside a coroutine")
	eq(forked, true)
	skynet.kill(handle)
end)

case("a fork of the start function runs when that yields (trap 4)", function()
	local handle = test.spawn(function()
		local list = {}
		skynet.start(function()
			skynet.fork(function() list[#list + 1] = "fork" end)
			list[#list + 1] = "start"
			skynet.yield()
			list[#list + 1] = "end"
			skynet.dispatch("lua", function() skynet.retpack(list) end)
		end)
	end)
	eq(skynet.call(handle, "lua"), { "start", "fork", "end" })
	skynet.kill(handle)
end)

case("init functions run in order before start, may yield (trap 32)", function()
	local handle = test.spawn(function()
		local list = {}
		local function add(text)
			list[#list + 1] = text
		end
		skynet.init(function() add "one" skynet.yield() add "one more" end)
		skynet.init(function() add "two" end)
		local ok, err = pcall(skynet.init, 5)
		skynet.start(function()
			add "start"
			local ok2, err2 = pcall(skynet.init, function() end)
			skynet.dispatch("lua", function() skynet.retpack(list, ok, err, ok2, err2) end)
		end)
	end)
	local list, ok, err, ok2, err2 = skynet.call(handle, "lua")
	eq(list, { "one", "one more", "two", "start" })
	eq({ ok, ok2 }, { false, false })
	has(err, "assertion failed!")
	has(err2, "table expected, got nil")
	skynet.kill(handle)
end)

case("init_service, and a start that is done by hand", function()
	local handle = test.spawn(function()
		local core = require "skynet.core"
		skynet.init(function() initialized = true end)
		core.callback(skynet.dispatch_message)
		skynet.timeout(0, function()
			skynet.init_service(function(...)
				local n, was = select("#", ...), initialized
				skynet.dispatch("lua", function() skynet.retpack(n, was) end)
			end)
		end)
	end)
	eq({ skynet.call(handle, "lua") }, { 0, true })
	skynet.kill(handle)
end)

case("start a second time ends the service", function()
	local from = test.log_end()
	eq((pcall(test.spawn, function()
		skynet.start(function() end)
		skynet.start(function() end)
	end)), true)
	test.logged("init service failed: ", from)
end)

case("a service without start never answers newservice", function()
	local starting = test.async(pcall, test.spawn, function()
		require "skynet.manager".register ".services_never"
	end)
	eventually(function() return skynet.localname ".services_never" end)
	skynet.kill(skynet.localname ".services_never")
	eq((starting()), false)
end)

case("uniqueservice and queryservice", function()
	local query = test.async(skynet.queryservice, "suite_peer unique")
	skynet.yield()
	local first, second = test.async(skynet.uniqueservice, "suite_peer unique"), test.async(skynet.uniqueservice,
		"suite_peer unique")
	local handle = first()
	eq(second(), handle)
	eq(query(), handle)
	eq(skynet.queryservice "suite_peer unique", handle)
	assert(skynet.uniqueservice "suite_peer" ~= handle)
	-- Later arguments are ignored.
	local with = skynet.uniqueservice("suite_peer", "other", "arguments")
	eq(with, skynet.uniqueservice "suite_peer")
	-- In the network.
	local global = skynet.uniqueservice(true, "suite_peer unique")
	assert(global ~= handle)
	eq(skynet.queryservice(true, "suite_peer unique"), global)
	local list = skynet.call(".service", "lua", "LIST")
	eq(list["suite_peer unique"], skynet.address(handle))
	eq(list["@suite_peer unique"], skynet.address(global))
	eq({ skynet.call(".service", "lua", "NOPE") }, { nil, "Invalid command NOPE" })
end)

case("a failure of a unique service is remembered (trap 36)", function()
	raises("call failed", skynet.uniqueservice, "no_such_unique")
	raises("call failed", skynet.uniqueservice, "no_such_unique")
	raises("call failed", skynet.queryservice, "no_such_unique")
	has(skynet.call(".service", "lua", "LIST").no_such_unique, "Error: ")
end)

case("a service that is being launched is in the list", function()
	local name = "suite_script " .. test.script(slow)
	local starting = test.async(skynet.uniqueservice, name)
	local query = test.async(skynet.queryservice, name)
	eventually(function() return skynet.localname ".services_slow" end)
	local text = skynet.call(".service", "lua", "LIST")[name]
	local handle = skynet.localname ".services_slow"
	has(text, "Init as " .. skynet.address(handle))
	has(text, "Launching from " .. skynet.address(skynet.self()))
	has(text, "Querying:")
	has(text, "stack traceback:")
	skynet.send(handle, "lua")
	eq(starting(), handle)
	eq(query(), handle)
end)

case("exit: what is pending is closed, the exiting coroutine last (traps 39, 40)", function()
	local from = test.log_end()
	local handle = test.spawn(function()
		local function guard(text)
			return setmetatable({}, { __close = function() skynet.error("closed " .. text) end })
		end
		skynet.start(function()
			skynet.dispatch("lua", function(_, _, cmd)
				if cmd == "wait" then
					local _g <close> = guard "wait"
					skynet.wait {}
				end
				local _g <close> = guard "exiting"
				skynet.fork(function() skynet.error "a fork ran" end)
				pcall(skynet.exit)
				skynet.error "exit returned"
			end)
		end)
	end)
	local waiting = test.async(pcall, skynet.call, handle, "lua", "wait")
	skynet.yield()
	local ok, err = pcall(skynet.call, handle, "lua", "exit")
	eq(ok, false)
	has(err, "call failed")
	eq((waiting()), false)
	local log = test.logged("closed exiting", from)
	assert(string.find(log, "closed wait.*KILL self.*closed exiting"), log)
	eq(string.find(log, "a fork ran"), nil)
	eq(string.find(log, "exit returned"), nil)
end)

case("kill: the service is not told, names vanish, finalizers run", function()
	local from = test.log_end()
	local handle = test.spawn(function()
		collected = setmetatable({}, { __gc = function() print "ok finalizer of a killed service" end })
		skynet.start(function() require "skynet.manager".register ".services_killed" end)
	end)
	skynet.kill(".services_killed")
	eventually(function() return not skynet.localname ".services_killed" end)
	eq(select("#", skynet.send(handle, "lua")), 0)
	test.logged(string.format("KILL :%x", handle), from)
	handle = test.peer()
	skynet.kill(skynet.address(handle))
	eq(select("#", skynet.send(handle, "lua")), 0)
	handle = test.peer()
	skynet.kill(handle)
	raises("call to invalid address", skynet.call, handle, "lua")
	eq(skynet.call(".launcher", "lua", "LIST")[skynet.address(handle)], nil)
end)

case("launcher: LIST, STAT, MEM, GC, KILL, QUERY, and what it does not know", function()
	local peer = test.peer()
	local name = skynet.address(peer)
	eq(skynet.call(".launcher", "lua", "LIST")[name], "snlua suite_peer")
	eq(skynet.call(".launcher", "lua", "list")[name], "snlua suite_peer")
	local stat = skynet.call(".launcher", "lua", "STAT", 300)[name]
	for _, key in ipairs { "cpu", "message", "mqlen", "task" } do
		eq(type(stat[key]), "number", key)
	end
	has(skynet.call(".launcher", "lua", "MEM", 300)[name], "Kb (snlua suite_peer)")
	has(skynet.call(".launcher", "lua", "GC", 300)[name], "Kb (snlua suite_peer)")
	eq(skynet.call(".launcher", "lua", "QUERY", 0x7ffffff0), nil)
	eq(skynet.call(".launcher", "lua", "NOPE"), { "Unknown command" })
	eq(skynet.call(".launcher", "lua", "KILL", peer), { [name] = "snlua suite_peer" })
	eq(skynet.call(".launcher", "lua", "LIST")[name], nil)
end)

case("LOGLAUNCH writes the messages of a service to a file", function()
	local handle = skynet.call(".launcher", "lua", "LOGLAUNCH", "snlua", "suite_peer")
	test.at(handle, function() skynet.retpack() end)
	local file = assert(io.open(string.format("%08x.log", handle)))
	local text = file:read "a"
	file:close()
	has(text, "open time: ")
	assert(string.find(text, string.format("\n%s 10 %%d+ %%d+ %%x+\n", skynet.address(skynet.self()))), text)
	skynet.kill(handle)
end)

local module_files = {}

--- A module in a file of its own, where `require` finds it.
local function write_module(name, text)
	local file = assert(io.open(name .. ".lua", "w"))
	file:write(text)
	file:close()
	module_files[#module_files + 1] = name .. ".lua"
end

case("require may yield, runs init functions, and gives everybody one value", function()
	package.path = "./?.lua;" .. package.path
	write_module("yielding", [[
		local skynet = require "skynet"
		count = (count or 0) + 1
		local M = { name = ..., order = {} }
		skynet.init(function() skynet.yield() M.order[1] = "init" end)
		skynet.init(function() M.order[2] = "second" end)
		skynet.yield()
		return M
	]])
	local a, b = test.async(require, "yielding"), test.async(require, "yielding")
	local M = require "yielding"
	eq(M.order, { "init", "second" })
	eq(M.name, "yielding")
	assert(a() == M and b() == M)
	eq(count, 1)
	write_module("gives_nothing", "")
	eq(require "gives_nothing", true)
	write_module("gives_false", "return false")
	eq(require "gives_false", false)
	eq(require "gives_false", false)
end)

case("require that fails", function()
	raises("module 'not_there' not found", require, "not_there")
	write_module("broken", "return return")
	raises("broken.lua", require, "broken")
	write_module("raises_once", [[
		tries = (tries or 0) + 1
		require "skynet".yield()
		if tries == 1 then error "first try" end
		return tries
	]])
	local second = test.async(pcall, require, "raises_once")
	raises("first try", require, "raises_once")
	local ok, err = second()
	eq(ok, false)
	assert(string.find(err, "require raises_once failed", 1, true) or string.find(err, "first try", 1, true), err)
	eq(require "raises_once", 2)
	write_module("circle_a", "return require 'circle_b'")
	write_module("circle_b", "return require 'circle_a'")
	raises("circular dependency", require, "circle_a")
	eq(skynet.task(), 0)
end)

case("skynet.require", function()
	local r = require "skynet.require"
	eq(r.require == require, true)
	eq(type(r.init), "function")
	eq(type(r.init_all), "function")
	for _, name in ipairs(module_files) do
		os.remove(name)
	end
end)

case("the exit monitor hears of every end", function()
	local monitor = skynet.monitor "suite_monitor"
	eq(skynet.monitor("suite_monitor", true), monitor)
	local a, b = test.peer(), test.peer()
	skynet.kill(a)
	pcall(skynet.call, b, "debug", "EXIT")
	eventually(function() return #skynet.call(monitor, "lua") >= 2 end)
	local list = skynet.call(monitor, "lua")
	eq(list[1], { a, 0, 0 })
	eq(list[2], { b, 0, 0 })
end)

test.run(cases)
