--- Module skynet: identity, addresses, clocks, environment, statistics, the log.
local skynet = require "skynet"
local test = require "test"

local eq, raises = test.eq, test.raises

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

case("self and address", function()
	eq(math.type(skynet.self()), "integer")
	eq(skynet.address(skynet.self()), string.format(":%08x", skynet.self()))
	eq(skynet.address(0xabc), ":00000abc")
	eq(skynet.address(16.0), ":00000010")
	eq(skynet.address ".launcher", ".launcher")
	eq(skynet.address(nil), "nil")
	eq(skynet.address(true), "true")
	eq(pcall(skynet.address, 1.5), false)
end)

case("localname", function()
	eq(skynet.localname ".launcher", 3)
	eq(select("#", skynet.localname ".nobody"), 0)
	eq(select("#", skynet.localname "launcher"), 0)
	eq(select("#", skynet.localname ":00000003"), 0)
	eq(pcall(skynet.localname), false)
end)

case("harbor", function()
	eq({ skynet.harbor(skynet.self()) }, { 0, false })
	eq({ skynet.harbor(0x02000001) }, { 2, true })
end)

case("genid counts with the sessions of calls and timers", function()
	local id = skynet.genid()
	eq(math.type(id), "integer")
	eq(skynet.genid(), id + 1)
	local co = skynet.timeout(0, function() end)
	eq(skynet.task(co), id + 2)
	skynet.yield()
	eq(skynet.genid(), id + 4)
end)

case("clocks", function()
	local now, hpc = skynet.now(), skynet.hpc()
	eq(math.type(now), "integer")
	eq(math.type(hpc), "integer")
	eq(math.type(skynet.starttime()), "integer")
	eq(skynet.starttime(), skynet.starttime())
	eq(math.type(skynet.time()), "float")
	local time = skynet.time()
	assert(math.abs(time - os.time()) < 30)
	assert(time >= now / 100 + skynet.starttime())
	skynet.sleep(3)
	assert(skynet.now() >= now + 3)
	assert(skynet.hpc() > hpc)
end)

case("getenv and setenv", function()
	eq(skynet.getenv "harbor", "0")
	eq(skynet.getenv "no_such_key", nil)
	eq(pcall(skynet.getenv), false)
	skynet.setenv("basics_text", "some text")
	eq(skynet.getenv "basics_text", "some text")
	skynet.setenv("basics_number", 12)
	eq(skynet.getenv "basics_number", "12")
	skynet.setenv("basics_empty", "")
	eq(skynet.getenv "basics_empty", "")
	raises("Can't setenv exist key : basics_text", skynet.setenv, "basics_text", "other")
	eq(skynet.getenv "basics_text", "some text")
	eq(pcall(skynet.setenv, "basics_nil", nil), false)
	eq(pcall(skynet.setenv, "basics_true", true), false)
	-- Other services see it.
	eq(test.at(test.peer(), function() skynet.retpack(skynet.getenv "basics_text") end), "some text")
end)

case("two services that set one key: one gets an error, the node lives", function()
	local from = test.log_end()
	for round = 1, 20 do
		local a, b = test.peer(), test.peer()
		local function set(round)
			skynet.retpack((pcall(skynet.setenv, "race" .. round, skynet.self())))
		end
		local first, second = test.async(test.at, a, set, round), test.async(test.at, b, set, round)
		local one, two = first(), second()
		assert(one ~= two, "exactly one sets it")
		eq(skynet.getenv("race" .. round), tostring(one and a or b))
		skynet.send(a, "debug", "EXIT")
		skynet.send(b, "debug", "EXIT")
	end
	eq(string.find(test.log(from), "panic"), nil)
end)

case("stat, mqlen, endless", function()
	for _, what in ipairs { "mqlen", "message", "endless" } do
		eq(math.type(skynet.stat(what)), "integer", what)
	end
	eq(math.type(skynet.stat "cpu"), "float")
	eq(math.type(skynet.stat "time"), "float")
	eq(skynet.stat "what", 0)
	eq(pcall(skynet.stat), false)
	eq(skynet.endless(), false)
	local messages = skynet.stat "message"
	skynet.yield()
	eq(skynet.stat "message", messages + 1)
	local length = skynet.mqlen()
	skynet.timeout(0, function() end)
	skynet.timeout(0, function() end)
	eq(skynet.mqlen(), length + 2)
	eq(skynet.stat "mqlen", skynet.mqlen())
	skynet.yield()
	eq(skynet.mqlen(), length)
	-- CPU time of earlier messages and of this one.
	local t = 0
	while skynet.stat "time" < 0.01 do
		t = t + 1
	end
	skynet.yield()
	assert(skynet.stat "cpu" >= 0.01)
end)

case("error writes one line", function()
	local from = test.log_end()
	skynet.error()
	skynet.error "one"
	skynet.error("several", 2, nil, true, nil)
	skynet.error(setmetatable({}, { __tostring = function() return "an object" end }))
	skynet.error("zero\0byte\nsecond line")
	local log = test.logged("second line", from)
	local name = "[" .. skynet.address(skynet.self()) .. "] "
	for _, text in ipairs { "nil\n", "one\n", "several 2 nil true nil\n", "an object\n", "zero\0byte\nsecond line\n" } do
		test.has(log, name .. text)
	end
end)

case("tracelog", function()
	local from = test.log_end()
	skynet.tracelog("tag", "plain")
	skynet.tracelog("tag", "level", 1)
	skynet.tracelog("tag", "thread", coroutine.running(), 0)
	local log = test.logged("thread", from)
	assert(string.find(log, "<TRACE tag> %d+ plain\n"))
	assert(string.find(log, "<TRACE tag> %d+ level : @[^\n]*skynet_basics%.lua:%d+"))
	assert(string.find(log, "<TRACE tag> %d+ thread : @[^\n]*skynet_basics%.lua:%d+"))
end)

case("constants and fields", function()
	for i, name in ipairs {
		"TEXT", "RESPONSE", "MULTICAST", "CLIENT", "SYSTEM", "HARBOR", "SOCKET", "ERROR", "QUEUE", "DEBUG", "LUA",
		"SNAX", "TRACE",
	} do
		eq(skynet["PTYPE_" .. name], i - 1, name)
	end
	eq(skynet.cache, require "skynet.codecache")
	eq(skynet.pcall, pcall)
	eq(skynet._proto.lua, skynet._proto[skynet.PTYPE_LUA])
	eq(skynet._proto.lua.name, "lua")
	eq(skynet._proto.lua.id, 10)
	eq(skynet._proto.nothing, nil)
end)

test.run(cases)
