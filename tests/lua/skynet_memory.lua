--- Message buffers, memory limits, skynet.memory, skynet.codecache, skynet.profile.
local skynet = require "skynet"
local test = require "test"

local eq, raises, has, at = test.eq, test.raises, test.has, test.at

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

case("pack, packstring, unpack: every type comes back", function()
	local values = table.pack(
		nil, true, false, 0, 1, -1, 255, 256, 65535, 65536, 2 ^ 31 | 0, -2 ^ 31 | 0, math.maxinteger, math.mininteger,
		0.0, 1.5, -1e300, math.huge, "", "x", ("y"):rep(31), ("z"):rep(32), ("w"):rep(70000), "\0bin\255",
		{}, { 1, 2, nil, 4 }, { a = { b = { c = "deep" } }, [1] = "one", [1.5] = true }, nil)
	local text = skynet.packstring(table.unpack(values, 1, values.n))
	local msg, sz = skynet.pack(table.unpack(values, 1, values.n))
	eq(#text, sz)
	eq(skynet.tostring(msg, sz), text)
	eq(table.pack(skynet.unpack(msg, sz)), values)
	eq(table.pack(skynet.unpack(text)), values)
	skynet.trash(msg, sz)
	local list = {}
	for i = 1, 5000 do
		list[i] = i
	end
	eq(skynet.unpack(skynet.packstring(list)), list)
end)

case("light userdata and tables with __pairs can be packed", function()
	local msg, sz = skynet.pack(1)
	eq(skynet.unpack(skynet.packstring(msg)), msg)
	skynet.trash(msg, sz)
	local t = setmetatable({}, { __pairs = function() return next, { key = "from pairs" }, nil end })
	eq(skynet.unpack(skynet.packstring(t)), { key = "from pairs" })
end)

case("nothing is nothing (trap 20)", function()
	local msg, sz = skynet.pack()
	eq(sz, 0)
	eq(type(msg), "userdata")
	eq(select("#", skynet.unpack(msg, sz)), 0)
	skynet.trash(msg, sz)
	eq(skynet.packstring(), "")
	eq(select("#", skynet.unpack ""), 0)
	eq(select("#", skynet.unpack(nil)), 0)
	eq(select("#", skynet.tostring(nil)), 0)
end)

case("what cannot be packed", function()
	raises("Unsupport type function to serialize", skynet.pack, print)
	raises("Unsupport type thread to serialize", skynet.packstring, coroutine.running())
	raises("Unsupport type function to serialize", skynet.pack, { { print } })
	raises("Unsupport type userdata to serialize", skynet.pack, io.stdout)
	local deep = 1
	for _ = 1, 31 do
		deep = { deep }
	end
	eq(skynet.unpack(skynet.packstring(deep)), deep)
	for _ = 1, 5 do
		deep = { deep }
	end
	raises("serialize can't pack too depth table", skynet.pack, deep)
	local loop = {}
	loop[1] = loop
	raises("serialize can't pack too depth table", skynet.packstring, loop)
	raises("in pairs", skynet.pack, setmetatable({}, { __pairs = function() error "in pairs" end }))
end)

case("what cannot be unpacked", function()
	raises("Invalid serialize stream", skynet.unpack, "\255")
	local text = skynet.packstring("some text", { 1, 2, 3 }, 1.5, 1 << 40)
	for i = 1, #text - 1 do
		local ok, err = pcall(skynet.unpack, string.sub(text, 1, i))
		if not ok then
			has(err, "Invalid serialize stream")
		end
	end
	eq(pcall(skynet.unpack, 5), false)
	eq(pcall(skynet.unpack, {}, 5), false)
end)

case("tostring and trash", function()
	local msg, sz = skynet.pack "abc"
	eq(#skynet.tostring(msg, sz), sz)
	eq(skynet.tostring(msg, 0), "")
	eq(select("#", skynet.trash(msg, sz)), 0)
	eq(select("#", skynet.trash("a string", 8)), 0)
	raises("skynet.trash invalid param table", skynet.trash, {}, 1)
	raises("skynet.trash invalid param nil", skynet.trash, nil, 1)
	eq(pcall(skynet.tostring, "x", 1), false)
	eq(pcall(skynet.tostring, {}, 1), false)
end)

case("memlimit", function()
	local from = test.log_end()
	local limited = test.spawn(function()
		skynet.memlimit(4 * 1024 * 1024)
		local field = skynet.memlimit
		skynet.start(function()
			skynet.dispatch("lua", function(_, _, cmd)
				if cmd == "grow" then
					local t = {}
					for i = 1, 1e7 do
						t[i] = { i }
					end
				elseif cmd == "caught" then
					local ok, err = pcall(string.rep, "x", 64 * 1024 * 1024)
					skynet.retpack(ok, err)
				else
					skynet.retpack(field)
				end
			end)
		end)
	end)
	test.logged("Set memory limit to 4.00 M", from)
	eq(skynet.call(limited, "lua", "ping"), nil)
	local ok, err = skynet.call(limited, "lua", "caught")
	eq(ok, false)
	has(err, "not enough memory")
	local text = raises("call failed", skynet.call, limited, "lua", "grow")
	test.cause(text, skynet.address(limited))
	test.logged("lua memory error", from)
	for _ = 1, 3 do
		eq(skynet.call(limited, "lua", "ping"), nil)
	end
	skynet.send(limited, "debug", "EXIT")
	-- Too late, it does nothing but go away.
	local late = test.spawn(function()
		skynet.start(function()
			skynet.memlimit(1024 * 1024)
			skynet.dispatch("lua", function() skynet.retpack(#string.rep("x", 8 * 1024 * 1024), skynet.memlimit) end)
		end)
	end)
	eq(skynet.call(late, "lua"), 8 * 1024 * 1024)
	skynet.send(late, "debug", "EXIT")
end)

case("every allocation of a limited service may fail, and the node lives", function()
	-- A library in Lua allocates while it answers, so there an answer can be lost.
	if not test.native then
		return
	end
	-- Growing garbage in requests; each gets an answer or an error.
	local limited = test.spawn(function()
		skynet.memlimit(2 * 1024 * 1024)
		skynet.start(function()
			local keep = {}
			skynet.dispatch("lua", function(_, _, n)
				if n == 0 then
					keep = {}
				else
					keep[#keep + 1] = string.rep("x", n)
				end
				skynet.fork(function() end)
				skynet.timeout(0, function() end)
				skynet.retpack(skynet.unpack(skynet.packstring(keep[#keep])))
			end)
		end)
	end)
	local failed = 0
	for i = 1, 60 do
		local ok, err = pcall(skynet.call_timeout, 2000, limited, "lua", 60000 + i)
		if not ok then
			failed = failed + 1
			has(err, "call failed")
		end
	end
	assert(failed > 0)
	pcall(skynet.call_timeout, 2000, limited, "lua", 0)
	skynet.send(limited, "debug", "EXIT")
	eq(at(test.peer(), function() skynet.retpack "alive" end), "alive")
end)

case("a big VM is warned of", function()
	local from = test.log_end()
	local big = test.peer()
	at(big, function()
		kept = string.rep("x", 40 * 1024 * 1024)
		skynet.retpack()
	end)
	test.logged("Memory warning", from)
	skynet.send(big, "debug", "EXIT")
end)

case("skynet.memory", function()
	local memory = require "skynet.memory"
	for _, value in ipairs { memory.total(), memory.block(), memory.current() } do
		eq(math.type(value), "integer")
		assert(value > 0)
	end
	local before = memory.current()
	kept = string.rep("x", 1 << 20)
	assert(memory.current() > before)
	-- The sizes of all are those at the end of a message.
	skynet.yield()
	assert(memory.info()[skynet.self()] >= 1 << 20)
	assert(memory.total() >= 1 << 20)
	kept = nil
	for handle, bytes in pairs(memory.info()) do
		eq(math.type(handle), "integer")
		eq(math.type(bytes), "integer")
		assert(handle ~= 0)
	end
	for _, name in ipairs { "allocated", "resident", "mapped", "active" } do
		assert(memory.jestat()["stats." .. name] > 0, name)
	end
	eq(math.type(memory.jestat()["stats.retained"]), "integer")
	eq(memory.mallctl "no.such.control", 0)
	eq(type(memory.profactive()), "boolean")
	eq(select("#", memory.dump()), 0)
	eq(select("#", memory.dumpinfo()), 0)
	eq(pcall(memory.dumpheap), true)
end)

case("skynet.codecache", function()
	local cache = require "skynet.codecache"
	eq(skynet.cache, cache)
	eq(cache.mode(), "ON")
	raises("invalid option", cache.mode, "SOMETIMES")
	eq(cache.loadfile, loadfile)
	local name = os.tmpname()
	local function write(text)
		local file = assert(io.open(name, "w"))
		file:write(text)
		file:close()
	end
	write "return 1"
	eq(dofile(name), 1)
	write "return 2"
	eq(dofile(name), 1)
	eq(loadfile(name)(), 1)
	-- Other services have it too.
	local peer = test.peer()
	eq(at(peer, function(name) skynet.retpack(dofile(name)) end, name), 1)
	cache.mode "OFF"
	eq(cache.mode(), "OFF")
	eq(dofile(name), 2)
	cache.mode "EXIST"
	eq(cache.mode(), "EXIST")
	eq(dofile(name), 1)
	cache.mode "ON"
	eq(dofile(name), 1)
	local old = loadfile(name)
	cache.clear()
	eq(old(), 1)
	eq(dofile(name), 2)
	eq(at(peer, function(name) skynet.retpack(dofile(name)) end, name), 2)
	-- A file that has gone is still there; its environment is the caller's.
	write "return value"
	cache.clear()
	eq(loadfile(name, "t", { value = 3 })(), 3)
	os.remove(name)
	eq(loadfile(name, "t", { value = 4 })(), 4)
	cache.clear()
	local f, err = loadfile(name)
	eq(f, nil)
	has(err, "cannot open ")
	-- Errors are not kept.
	write "return return"
	eq(loadfile(name), nil)
	write "return 5"
	eq(loadfile(name)(), 5)
	os.remove(name)
	cache.clear()
	skynet.send(peer, "debug", "EXIT")
end)

case("skynet.profile", function()
	local profile = require "skynet.profile"
	eq(profile.resume, coroutine.resume)
	eq(profile.wrap, coroutine.wrap)
	raises("Call profile.start() before profile.stop()", profile.stop)
	eq(select("#", profile.start()), 0)
	raises("start profile more than once", profile.start)
	local t = 0
	while skynet.stat "time" < 0.02 do
		t = t + 1
	end
	local used = profile.stop()
	eq(math.type(used), "float")
	assert(used >= 0.005 and used < 30)
	raises("Call profile.start() before profile.stop()", profile.stop)
	-- Another coroutine, in pieces.
	local co = coroutine.create(function()
		for _ = 1, 3 do
			local x = 0
			for i = 1, 1e5 do
				x = x + i
			end
			coroutine.yield(x)
		end
	end)
	profile.start(co)
	eq(coroutine.resume(co), true)
	eq((profile.resume(co)), true)
	assert(profile.stop(co) > 0)
	eq(profile.wrap(function(...) return ... end)(1), 1)
	raises("bad argument", profile.start, nil)
	raises("bad argument", profile.stop, 5)
	-- The time in which the task waits is not counted.
	profile.start()
	skynet.sleep(20)
	assert(profile.stop() < 0.15)
end)

test.run(cases)
