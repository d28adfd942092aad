--- Module skynet: coroutines, their order, and time.
local skynet = require "skynet"
local test = require "test"

local eq, raises, has, eventually = test.eq, test.raises, test.has, test.eventually

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

--- A list that grows, and a function that appends to it.
local function log()
	local list = {}
	return list, function(text)
		list[#list + 1] = text
	end
end

case("fork passes all arguments and runs before every message (traps 2, 21)", function()
	local list, add = log()
	skynet.timeout(0, function() add "timeout" end)
	local co = skynet.fork(function(...)
		eq(table.pack(...), { n = 3, [2] = 2 })
		add "fork"
		skynet.fork(function()
			add "fork of fork"
			skynet.fork(add, "third")
		end)
	end, nil, 2, nil)
	skynet.fork(add, "second")
	eq(type(co), "thread")
	add "running on"
	skynet.yield()
	eq(list, { "running on", "fork", "second", "fork of fork", "third", "timeout" })
end)

case("woken coroutines run when the waker stops, in order, before forks (trap 1)", function()
	local list, add = log()
	for i = 1, 3 do
		skynet.fork(function()
			skynet.wait(i)
			add("woken " .. i)
			skynet.fork(add, "fork of woken " .. i)
		end)
	end
	skynet.yield()
	skynet.fork(add, "fork before")
	for i = 3, 1, -1 do
		eq(skynet.wakeup(i), true)
	end
	skynet.fork(add, "fork after")
	add "waker goes on"
	skynet.yield()
	eq(list, {
		"waker goes on", "woken 3", "woken 2", "woken 1", "fork before", "fork after", "fork of woken 3",
		"fork of woken 2", "fork of woken 1",
	})
end)

case("a woken coroutine that wakes another", function()
	local list, add = log()
	skynet.fork(function() skynet.wait "b" add "b" end)
	skynet.fork(function() skynet.wait "a" skynet.wakeup "b" add "a" end)
	skynet.yield()
	skynet.wakeup "a"
	skynet.fork(add, "fork")
	skynet.yield()
	eq(list, { "a", "b", "fork" })
end)

case("wakeup of nobody is lost, k wakeups break k sleeps (traps 5, 6)", function()
	local token = {}
	eq(select("#", skynet.wakeup(token)), 0)
	local list, add = log()
	skynet.fork(function()
		add(skynet.sleep(10000, token))
		add(skynet.sleep(10000, token))
		add(skynet.sleep(0, token) or "full")
	end)
	skynet.yield()
	eq(skynet.wakeup(token), true)
	eq(skynet.wakeup(token), true)
	skynet.yield()
	skynet.yield()
	eq(list, { "BREAK", "BREAK", "full" })
end)

case("sleep tells a full sleep from a broken one, wait does not (trap 7)", function()
	local now = skynet.now()
	eq(select("#", skynet.sleep(2)), 0)
	assert(skynet.now() >= now + 2)
	eq(select("#", skynet.sleep(-5)), 0)
	eq(select("#", skynet.yield()), 0)
	local me = coroutine.running()
	skynet.fork(skynet.wakeup, me)
	eq(skynet.sleep(10000), "BREAK")
	skynet.fork(skynet.wakeup, me)
	eq(select("#", skynet.wait()), 0)
	raises("bad argument", skynet.sleep)
	raises("bad argument", skynet.sleep, {})
	raises("bad argument", skynet.sleep, 1.5)
end)

case("the timer of a broken sleep is swallowed (trap 8)", function()
	local from = test.log_end()
	local me = coroutine.running()
	skynet.fork(skynet.wakeup, me)
	eq(skynet.sleep(1), "BREAK")
	skynet.sleep(5)
	eq(test.log(from), "")
	eq(skynet.task(), 0)
end)

case("any value but nil is a token, and a second sleeper on it is refused", function()
	for _, token in ipairs { 1, 1.5, "text", true, false, {}, print } do
		local woken
		skynet.fork(function()
			skynet.wait(token)
			woken = true
		end)
		skynet.yield()
		raises("token duplicative", skynet.wait, token)
		raises("token duplicative", skynet.sleep, 1, token)
		eq(skynet.wakeup(token), true)
		skynet.yield()
		eq(woken, true)
	end
	skynet.sleep(3)
	eq(skynet.task(), 0)
end)

case("after token duplicative the next wait is not disturbed", function()
	skynet.fork(skynet.wait, "taken")
	skynet.yield()
	raises("token duplicative", skynet.sleep, 1, "taken")
	local token, returned = {}, false
	skynet.fork(function()
		skynet.wait(token)
		returned = true
	end)
	skynet.sleep(5)
	eq(returned, false)
	skynet.wakeup(token)
	skynet.wakeup "taken"
	skynet.yield()
	eq(returned, true)
end)

case("yield lets what is queued go first (trap 3)", function()
	local list, add = log()
	skynet.timeout(0, function() add "first" end)
	skynet.timeout(0, function() add "second" end)
	skynet.yield()
	add "yielded"
	eq(list, { "first", "second", "yielded" })
end)

case("timeout: order, arguments, forms of time (trap 11)", function()
	local list, add = log()
	local got
	skynet.timeout(3, function() add "three" end)
	skynet.timeout("1", function() add "one" end)
	skynet.timeout(2.0, function() add "two" end)
	skynet.timeout(-1, function(...)
		got = table.pack(...)
		add "now"
	end)
	eventually(function() return #list == 4 end)
	eq(list, { "now", "one", "two", "three" })
	eq(got.n, 4)
	eq(got[1], true)
	eq(type(got[2]), "userdata")
	eq(got[3], 0)
	eq(math.type(got[4]), "integer")
	raises("bad argument", skynet.timeout, 1.5, print)
	raises("bad argument", skynet.timeout, nil, print)
	eq(type(skynet.timeout(0, function() end)), "thread")
	skynet.yield()
end)

case("timers of one centisecond keep their order", function()
	local list, add = log()
	for i = 1, 100 do
		skynet.timeout(2, function() add(i) end)
	end
	eventually(function() return #list == 100 end)
	for i = 1, 100 do
		eq(list[i], i)
	end
end)

case("errors of one message are logged together and stop nobody (trap 12)", function()
	local from = test.log_end()
	local ran = false
	skynet.fork(error, "first error")
	skynet.fork(function() error "second error" end)
	skynet.fork(function() ran = true end)
	skynet.yield()
	eq(ran, true)
	local text = test.logged("second error", from)
	has(text, "first error")
	local _, count = string.gsub(text, "lua call %[", "")
	eq(count, 1)
end)

case("a fork or a timer with something that is no function is an error of its own", function()
	local from = test.log_end()
	local ok = pcall(skynet.fork, 5)
	if ok then
		skynet.yield()
		test.logged("attempt to call a number value", from)
	end
	ok = pcall(skynet.timeout, 0, "text")
	if ok then
		skynet.yield()
		test.logged("attempt to call a string value", from)
	end
	eq(skynet.task(), 0)
end)

case("coroutines are used again (trap 10)", function()
	local seen, reused = {}, 0
	for _ = 1, 20 do
		skynet.fork(function()
			local co = coroutine.running()
			reused = reused + (seen[co] and 1 or 0)
			seen[co] = true
		end)
		skynet.yield()
	end
	assert(reused > 0)
end)

case("a native yield without a value parks, with one is an unknown command", function()
	local from = test.log_end()
	local went_on = false
	skynet.fork(function()
		coroutine.yield()
		went_on = true
	end)
	skynet.fork(coroutine.yield, "nonsense")
	skynet.yield()
	test.logged("Unknown command : nonsense", from)
	eq(went_on, false)
end)

case("killthread of what has not started, sleeps, waits, calls", function()
	local ran = false
	local co = skynet.fork(function() ran = true end)
	eq(skynet.killthread(co), co)
	skynet.yield()
	eq(ran, false)

	local closed = {}
	local function guarded(what, f)
		return skynet.fork(function()
			local guard <close> = setmetatable({}, { __close = function(_, err) closed[what] = { err } end })
			f()
			ran = true
		end)
	end
	local from = test.log_end()
	local peer = test.peer()
	local threads = {
		sleep = guarded("sleep", function() skynet.sleep(2) end),
		wait = guarded("wait", function() skynet.wait "killed" end),
		call = guarded("call", function() test.at(peer, function() skynet.sleep(3) skynet.retpack() end) end),
	}
	local timer = skynet.timeout(2, function() ran = true end)
	skynet.yield()
	for what, co in pairs(threads) do
		eq(skynet.killthread(co), co)
		eq(closed[what], {})
		eq(coroutine.status(co), "dead")
	end
	eq(skynet.killthread(timer), timer)
	eq(select("#", skynet.wakeup "killed"), 0)
	eq(select("#", skynet.killthread(timer)), 0)
	eq(select("#", skynet.killthread(coroutine.running())), 0)
	eq(select("#", skynet.killthread(coroutine.create(print))), 0)
	eq(select("#", skynet.killthread "no such thread"), 0)
	-- The late timers and the late answer meet nobody.
	skynet.sleep(10)
	test.at(peer, function() skynet.retpack() end)
	eq(ran, false)
	eq(string.find(test.log(from), "Unknown session"), nil)
	-- The token is free.
	skynet.fork(skynet.wait, "killed")
	skynet.yield()
	eq(skynet.wakeup "killed", true)
	skynet.yield()
	skynet.send(peer, "debug", "EXIT")
end)

case("killthread by a pattern", function()
	local co = skynet.fork(skynet.wait, "by pattern")
	skynet.yield()
	local address = string.match(tostring(co), "0x%x+")
	eq(skynet.killthread(address), co)
	eq(skynet.task(), 0)
end)

case("killthread answers the request that the thread owes, and not one that it has answered", function()
	local peer = test.peer()
	local owed = test.async(pcall, test.at, peer, function()
		thread = coroutine.running()
		skynet.wait {}
	end)
	eventually(function() return test.at(peer, function() skynet.retpack(thread ~= nil) end) end)
	test.at(peer, function() skynet.killthread(thread) skynet.ret() end)
	local ok, err = owed()
	eq(ok, false)
	has(err, "call failed")
	eq(test.at(peer, function()
		thread = coroutine.running()
		skynet.retpack "answered"
		skynet.wait {}
	end), "answered")
	eq(test.at(peer, function() skynet.retpack(skynet.killthread(thread) == thread) end), true)
	skynet.send(peer, "debug", "EXIT")
end)

case("to-be-closed variables see the error of their task", function()
	local from = test.log_end()
	local seen
	skynet.fork(function()
		local guard <close> = setmetatable({}, { __close = function(_, err) seen = err end })
		error { "an object" }
	end)
	skynet.yield()
	eq(seen, { "an object" })
	test.logged("error", from)
end)

case("a task that raises releases those who wait behind it", function()
	local list, add = log()
	skynet.fork(function() skynet.wait "x" add "x" end)
	skynet.fork(function() skynet.wait "y" add "y" end)
	skynet.yield()
	skynet.fork(function()
		skynet.wakeup "x"
		skynet.wakeup "y"
		error "after waking"
	end)
	skynet.yield()
	eq(list, { "x", "y" })
end)

test.run(cases)
