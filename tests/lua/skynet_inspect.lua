--- Module skynet: the list of tasks.
local skynet = require "skynet"
local test = require "test"

local eq, has, eventually = test.eq, test.has, test.eventually

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

case("task", function()
	eq(skynet.task(), 0)
	local co = skynet.fork(skynet.wait, "task")
	local timer = skynet.timeout(10000, print)
	skynet.yield()
	eq(skynet.task(), 2)
	local session = skynet.task(co)
	eq(math.type(session), "integer")
	has(skynet.task(session), "stack traceback:")
	eq(skynet.task(skynet.task(timer)), "stack traceback:")
	eq(skynet.task(0x7fffffff), "No session")
	eq(skynet.task(coroutine.running()), nil)
	eq(skynet.task "init", nil)
	eq(select("#", skynet.task(true)), 0)
	eq(select("#", skynet.task "other"), 0)
	local list = {}
	skynet.task(list)
	has(list[tostring(co) .. " session: " .. session], "stack traceback:")
	-- A sleep that was broken leaves a marker until its timer comes.
	local sleeper = skynet.fork(skynet.sleep, 10)
	skynet.yield()
	session = skynet.task(sleeper)
	skynet.wakeup(sleeper)
	skynet.yield()
	eq(skynet.task(session), "BREAK")
	eq(skynet.task(), 2)
	list = {}
	skynet.task(list)
	eq(list["BREAK session: " .. session], "BREAK")
	eq(skynet.killthread(timer), timer)
	skynet.wakeup "task"
	skynet.yield()
	eventually(function() return skynet.task(session) == "No session" end)
end)

case("task init while the start function runs", function()
	local service = test.async(test.spawn, function()
		skynet.dispatch("lua", function(_, _, cmd)
			skynet.wakeup "go"
			skynet.ret()
		end)
		skynet.start(function()
			(require "skynet.manager").register ".tasks_starting"
			skynet.wait "go"
		end)
	end)
	eventually(function() return skynet.localname ".tasks_starting" end)
	has(skynet.call(".tasks_starting", "debug", "TASK", "init"), "stack traceback:")
	skynet.call(".tasks_starting", "lua", "go")
	local handle = service()
	eq(skynet.call(handle, "debug", "TASK", "init"), nil)
	skynet.send(handle, "debug", "EXIT")
end)

case("uniqtask", function()
	for i = 1, 12 do
		skynet.fork(skynet.wait, "uniq" .. i)
	end
	skynet.yield()
	local found
	for key, traceback in pairs(skynet.uniqtask()) do
		if string.match(key, "^12\tsessions:%[%d+[%d,]*%.%.%.%]") then
			found = traceback
		end
	end
	has(found, "stack traceback:")
	for i = 1, 12 do
		skynet.wakeup("uniq" .. i)
	end
	skynet.yield()
	eq(skynet.uniqtask(), {})
end)

case("trace_timeout", function()
	skynet.trace_timeout(true)
	local timer = skynet.timeout(10000, print)
	local text = skynet.task(skynet.task(timer))
	assert(string.find(text, "^TIMER %d+%+10000 : \nstack traceback:"), text)
	has(text, "skynet_inspect.lua")
	skynet.trace_timeout(false)
	local plain = skynet.timeout(10000, print)
	eq(skynet.task(skynet.task(plain)), "stack traceback:")
	skynet.killthread(timer)
	skynet.killthread(plain)
	eq(skynet.task(), 0)
end)

test.run(cases)
