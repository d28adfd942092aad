--- skynet.snax: interfaces, objects, life cycle, hotfix.
local skynet = require "skynet"
local snax = require "skynet.snax"
local test = require "test"

local eq, raises, has, eventually = test.eq, test.raises, test.has, test.eventually

local NAME <const> = "suite_snax"

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

case("interface: ids in order of definition", function()
	local i = snax.interface(NAME)
	eq(i.name, NAME)
	eq(i.system, { init = 1, exit = 2, hotfix = 3, profile = 4 })
	eq(i.response, { add = 5, echo = 6, fail = 7, notes = 8, names = 9, wait = 10, leave = 11, cluster = 12 })
	eq(i.accept, { note = 13, wake = 14, fail = 15 })
	eq(snax.interface(NAME) == i, true)
	raises("cannot open ", snax.interface, "no_such_snax")
end)

case("interface errors", function()
	local read = require "snax.interface"
	local function check(text, source)
		raises(text, read, "x", { require = function() end }, function(_, _, G)
			return assert(load(source, "=x", "t", G)), "x"
		end)
	end
	check("accept.foo must be function", "accept.foo = 1")
	check("accept.foo duplicate definition", "function accept.foo() end function accept.foo() end")
	check("accept method only support string", "accept[1] = function() end")
	check("init must be a function", "init = 1")
	raises("assertion failed!", read, "x", setmetatable({}, {}), function() return print, "x" end)
	raises("assertion failed!", read, "x", { accept = {} }, function() return print, "x" end)
end)

case("newservice, req, post", function()
	local obj = snax.newservice(NAME, 1, nil, "x", nil)
	eq(obj.type, NAME)
	eq(tostring(obj), string.format("[%s:%x]", NAME, obj.handle))
	eq({ obj.req.add(5) }, { 5, "hello" })
	eq(table.pack(obj.req.echo(nil, 2, nil)), { n = 3, [2] = 2 })
	eq(select("#", obj.post.note("noted", nil)), 0)
	eq(obj.req.notes(), { { n = 4, [1] = 1, [3] = "x" }, { "noted", n = 2 } })
	eq({ obj.req.names() }, { NAME, tostring(obj), "nil", "nil" })
	raises("request suite_snax:nope no exist", function() return obj.req.nope end)
	raises("post suite_snax:nope no exist", function() return obj.post.nope end)
	raises("request suite_snax:note no exist", function() return obj.req.note end)
	test.cause(raises("call failed", obj.req.fail), "response failed")
	local from = test.log_end()
	obj.post.fail()
	test.logged("accept failed", from)
	-- Requests may wait, others go on.
	local waiting = test.async(obj.req.wait)
	skynet.yield()
	eq(obj.req.echo(1), 1)
	obj.post.wake()
	eq(waiting(), "woken")
	eq(snax.bind(obj.handle, NAME) == obj, true)
	raises("assertion failed!", snax.bind, obj.handle, "other")
	local info = snax.profile_info(obj)
	eq(info.echo.count, 2)
	eq(info.fail.count, 2)
	eq(math.type(info.add.time), "float")
	eq(skynet.call(obj.handle, "debug", "INFO").echo.count, 2)
	from = test.log_end()
	eq(select("#", snax.kill(obj, "bye")), 0)
	test.logged("suite_snax exits bye", from)
	raises("call to invalid address", obj.req.echo)
end)

case("rawnewservice, and what is refused before and after init", function()
	local i = snax.interface(NAME)
	local raw = skynet.newservice("snaxd", NAME)
	test.cause(raises("call failed", skynet.call, raw, "snax", i.response.echo, 1), "Init first")
	test.cause(raises("call failed", skynet.call, raw, "snax", i.system.exit), "Never init")
	eq(select("#", skynet.call(raw, "snax", i.system.init)), 0)
	test.cause(raises("call failed", skynet.call, raw, "snax", i.system.init), "Already init")
	raises("call failed", skynet.call, raw, "snax", 999)
	raises("call failed", skynet.call, raw, "lua", i.response.echo, 1)
	local obj = snax.bind(raw, NAME)
	obj.req.cluster()
	eq(skynet.call(raw, "lua", i.response.echo, "over lua"), "over lua")
	snax.kill(obj)
	local handle = snax.rawnewservice(NAME, "arg")
	eq(math.type(handle), "integer")
	eq(snax.bind(handle, NAME).req.notes()[1], { "arg", n = 1 })
	local from = test.log_end()
	raises("call failed", snax.bind(handle, NAME).req.leave, "self")
	test.logged("suite_snax exits self", from)
end)

case("uniqueservice, queryservice, globalservice, queryglobal", function()
	local query = test.async(snax.queryservice, NAME)
	skynet.yield()
	local u = snax.uniqueservice(NAME, "unique")
	eq(query() == u, true)
	eq(snax.uniqueservice(NAME, "ignored") == u, true)
	eq(u.req.notes()[1], { "unique", n = 1 })
	local g = snax.globalservice(NAME, "global")
	eq(g ~= u, true)
	eq(snax.queryglobal(NAME) == g, true)
	eq(skynet.call(".service", "lua", "LIST")["snaxd." .. NAME], skynet.address(u.handle))
	raises("", snax.uniqueservice, "no_such_snax")
end)

case("self and exit belong to snax services", function()
	eq(pcall(snax.self), false)
	eq(pcall(snax.exit), false)
end)

case("hotfix: upvalues are joined by name", function()
	local obj = snax.newservice(NAME)
	obj.req.add(1)
	eq({ snax.hotfix(obj, [[
		local count
		local greeting
		local function helper(n)
			count = count + 100 * n
			return count
		end
		function response.add(n) return helper(n), "patched " .. greeting end
		function accept.note(...) count = -1 end
		function hotfix(a, b)
			local old = count
			count = 1000
			return old, a, b
		end
	]], "A", nil) }, { 1, "A" })
	eq({ obj.req.add(1) }, { 1100, "patched hello" })
	obj.post.note()
	eq(obj.req.add(1), 99)
	-- Not patched.
	eq(obj.req.echo(5), 5)
	-- Again, over the patched one; system functions too.
	eq(select("#", snax.hotfix(obj, "local count function response.add() return count, _ENV ~= nil end")), 0)
	eq({ obj.req.add() }, { 99, true })
	local from = test.log_end()
	snax.hotfix(obj, "local skynet = require 'skynet' function exit() skynet.error 'patched exit' end")
	snax.kill(obj)
	test.logged("patched exit", from)
end)

case("hotfix that fails changes nothing", function()
	local obj = snax.newservice(NAME)
	raises("Patch mismatch response.nope", snax.hotfix, obj,
		"function response.echo() return 'patched' end function response.nope() end")
	eq(obj.req.echo(1), 1)
	raises("attempt to call a nil value", snax.hotfix, obj, "x = = 1")
	raises("patch:1: in hotfix", snax.hotfix, obj, "function hotfix() error 'in hotfix' end")
	raises("init must be a function", snax.hotfix, obj, "init = 5")
	eq(obj.req.echo(1), 1)
	snax.kill(obj)
end)

case("hotfix while requests wait in the old function", function()
	local obj = snax.newservice(NAME)
	local old = test.async(obj.req.wait)
	skynet.yield()
	snax.hotfix(obj, "function response.wait() return 'new' end")
	eq(obj.req.wait(), "new")
	obj.post.wake()
	eq(old(), "woken")
	snax.kill(obj)
end)

case("printf", function()
	local from = test.log_end()
	snax.printf("printf %d %s", 7, "x")
	test.logged("printf 7 x", from)
end)

test.run(cases)
