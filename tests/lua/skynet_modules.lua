--- skynet.queue, skynet.coroutine, skynet.service.
local skynet = require "skynet"
local queue = require "skynet.queue"
local co = require "skynet.coroutine"
local service = require "skynet.service"
require "skynet.manager"
local test = require "test"

local eq, raises, has, at, eventually = test.eq, test.raises, test.has, test.at, test.eventually

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

case("queue: one at a time, in order, with all results", function()
	eq(skynet.queue, queue)
	local cs, list, inside = queue(), {}, 0
	local calls = {}
	for i = 1, 10 do
		calls[i] = test.async(cs, function(...)
			inside = inside + 1
			eq(inside, 1)
			list[#list + 1] = i
			skynet.yield()
			skynet.sleep(1)
			inside = inside - 1
			return ...
		end, i, nil, nil)
	end
	for i = 1, 10 do
		eq(table.pack(calls[i]()), { i, nil, nil, n = 3 })
		eq(list[i], i)
	end
	eq(select("#", cs(function() end)), 0)
	-- Other sections are free.
	local other = queue()
	eq(cs(function() return other(function() return "other" end) end), "other")
end)

case("queue: its holder may enter again", function()
	local cs = queue()
	eq(cs(function() return cs(function() skynet.yield() return cs(function() return 3 end) end) end), 3)
	eq(cs(function() return 1 end), 1)
end)

case("queue: errors release it", function()
	local cs = queue()
	local err = raises("in the section", cs, function() error "in the section" end)
	has(err, "stack traceback:")
	local ok, object = pcall(cs, function() skynet.yield() error { 7 } end)
	eq({ ok, object }, { false, { 7 } })
	raises("nested", cs, function() cs(function() error "nested" end) end)
	eq(cs(function() return "free" end), "free")
end)

case("queue: a holder that died without letting go is passed over", function()
	-- What memory that ends in the wrong moment leaves: a dead holder, and waiters.
	local cs, section = queue(), nil
	for i = 1, 10 do
		local name, value = debug.getupvalue(cs, i)
		if name == "self" then
			section = value
		end
	end
	local list = {}
	local holder = coroutine.create(function() end)
	section.holder, section.depth = holder, 1
	test.async(cs, function() list[#list + 1] = "waiter" end)
	skynet.yield()
	eq(list, {})
	coroutine.resume(holder)
	cs(function() list[#list + 1] = "next" end)
	eq(list, { "waiter", "next" })
	eq(section.holder, nil)
end)

case("queue: a waiter that is woken from outside or killed does not wedge it", function()
	local cs = queue()
	local token, list = {}, {}
	skynet.fork(cs, function() skynet.wait(token) list[#list + 1] = "holder" end)
	local waiters = {}
	for i = 1, 4 do
		waiters[i] = skynet.fork(cs, function() list[#list + 1] = i end)
	end
	skynet.yield()
	skynet.wakeup(waiters[1])
	skynet.yield()
	eq(list, {})
	eq(skynet.killthread(waiters[2]), waiters[2])
	skynet.wakeup(token)
	skynet.yield()
	eq(cs(function() return #list end), 4)
	eq(list, { "holder", 1, 3, 4 })
	-- The holder is killed.
	local holder = skynet.fork(cs, function() skynet.wait {} end)
	local waiter = test.async(cs, function() return "entered" end)
	skynet.yield()
	skynet.killthread(holder)
	eq(waiter(), "entered")
	-- One that has been given the section and is killed before it runs.
	holder = skynet.fork(cs, function() skynet.wait(token) end)
	local chosen = skynet.fork(cs, function() list[#list + 1] = "chosen" end)
	waiter = test.async(cs, function() return "after" end)
	skynet.yield()
	skynet.wakeup(token)
	skynet.fork(skynet.killthread, chosen)
	eq(waiter(), "after")
end)

case("coroutine: blocking calls inside, values through yield", function()
	local peer = test.peer()
	local c = co.create(function(a, b)
		eq({ a, b }, { 1, 2 })
		local x = co.yield("first", nil, 3)
		local answer = at(peer, function() skynet.sleep(1) skynet.retpack "called" end)
		local y = co.yield(answer, x)
		skynet.sleep(1)
		return "end", y
	end)
	eq(co.status(c), "suspended")
	eq(table.pack(co.resume(c, 1, 2)), { true, "first", nil, 3, n = 4 })
	eq({ co.resume(c, "x") }, { true, "called", "x" })
	eq({ co.resume(c, "y") }, { true, "end", "y" })
	eq(co.status(c), "dead")
	eq({ co.resume(c) }, { false, "cannot resume dead coroutine" })
	skynet.send(peer, "debug", "EXIT")
end)

case("coroutine: resume refuses what it must", function()
	eq({ co.resume(coroutine.create(print)) }, { false, "cannot resume none skynet coroutine" })
	eq({ co.resume(coroutine.running()) }, { false, "cannot resume none skynet coroutine" })
	local token = {}
	local c = co.create(function() skynet.wait(token) return "woken" end)
	local resumed = test.async(co.resume, c)
	skynet.yield()
	eq(co.status(c), "blocked")
	eq({ co.resume(c) }, { false, "cannot resume a skynet coroutine suspend by skynet framework" })
	skynet.wakeup(token)
	eq({ resumed() }, { true, "woken" })
	eq(pcall(co.resume, 5), false)
	eq(pcall(co.create, 5), false)
end)

case("coroutine: yield outside of resume ends the task", function()
	local from = test.log_end()
	local after = false
	skynet.fork(function()
		co.yield(1)
		after = true
	end)
	skynet.yield()
	test.logged("Call skynet.coroutine.yield out of skynet.coroutine.resume", from)
	eq(after, false)
end)

case("coroutine: nested ones, wrap, thread, running, isyieldable", function()
	local me = coroutine.running()
	eq({ co.thread() }, { me, true })
	eq(co.isyieldable(), true)
	local outer = co.wrap(function()
		local inner = co.wrap(function()
			eq(co.thread() == me, true)
			eq(select(2, co.thread()), false)
			eq(co.running() ~= me, true)
			skynet.yield()
			co.yield "from inner"
			skynet.yield()
			return "inner end"
		end)
		co.yield(inner())
		co.yield(inner())
		return "outer end"
	end)
	eq(outer(), "from inner")
	eq(outer(), "inner end")
	eq(outer(), "outer end")
	raises("cannot resume dead coroutine", outer)
	raises("wrapped", co.wrap(function() skynet.yield() error "wrapped" end))
	local ok, object = pcall(co.wrap(function() error { 1 } end))
	eq({ ok, object }, { false, { 1 } })
	-- The default token is the nested object (trap 9).
	local nested
	local woken = test.async(co.wrap(function()
		nested = co.running()
		return skynet.sleep(10000)
	end))
	skynet.yield()
	eq(skynet.wakeup(nested), true)
	eq(woken(), "BREAK")
end)

case("coroutine: close", function()
	local closed = false
	local function guarded(f)
		return co.create(function()
			local g <close> = setmetatable({}, { __close = function() closed = true end })
			f()
		end)
	end
	local c = guarded(co.yield)
	co.resume(c)
	eq(co.close(c), true)
	eq(closed, true)
	eq(co.status(c), "dead")
	local token = {}
	closed = false
	c = guarded(function() skynet.wait(token) end)
	local resumed = test.async(co.resume, c)
	skynet.yield()
	eq(co.close(c), true)
	eq(closed, true)
	skynet.wakeup(token)
	eq({ resumed() }, { false, "cannot resume dead coroutine" })
	c = co.create(function() error "err" end)
	co.resume(c)
	eq((co.close(c)), false)
end)

case("service.new, query, close", function()
	local query = test.async(service.query, "modules_db")
	skynet.yield()
	local function main(...)
		local skynet = require "skynet"
		local args = table.pack(...)
		skynet.start(function()
			skynet.yield()
			skynet.dispatch("lua", function(_, _, cmd)
				if cmd == "names" then
					skynet.retpack(SERVICE_NAME, type(SERVICE_PATH))
				else
					skynet.retpack(table.unpack(args, 1, args.n))
				end
			end)
		end)
	end
	local first = test.async(service.new, "modules_db", main, 1, nil, "x")
	local second = test.async(service.new, "modules_db", main, 2)
	local handle = first()
	eq(second(), handle)
	eq(query(), handle)
	eq(service.query "modules_db", handle)
	eq({ skynet.call(handle, "lua") }, { 1, nil, "x" })
	eq({ skynet.call(handle, "lua", "names") }, { "service_cell", "string" })
	local provider = skynet.uniqueservice "service_provider"
	eq(skynet.call(provider, "lua", "test", "modules_db"), handle)
	eq(select("#", skynet.call(provider, "lua", "test", "nobody")), 0)
	local info = skynet.call(provider, "debug", "INFO")[skynet.address(handle)]
	eq(info.name, "modules_db")
	eq(info.init, "1,nil,x")
	eq(service.close "modules_db", true)
	eq(service.close "modules_db", false)
	eq(service.close "nobody", false)
	raises("call to invalid address", skynet.call, handle, "lua")
	local again = service.new("modules_db", main, 3)
	assert(again ~= handle)
	eq(skynet.call(again, "lua"), 3)
	eq(service.close "modules_db", true)
end)

case("service.new that cannot work", function()
	local local_value = 1
	raises("assertion failed!", service.new, "modules_bad", function() return local_value end)
	raises("assertion failed!", service.new, "modules_bad", function() end)
	raises("call failed", service.new, "modules_fails", function() error "in the main function" end)
	raises("call failed", service.new, "modules_fails", function() print() end)
	raises("call failed", service.query, "modules_fails")
	eq(service.close "modules_fails", false)
	local handle = service.new("modules_fails", function() require "skynet" end)
	-- Without a dispatch function.
	test.cause(raises("call failed", skynet.call, handle, "lua", "x"), "No dispatch function")
	eq(service.close "modules_fails", true)
end)

test.run(cases)
