--- skynet.request and its select.
local skynet = require "skynet"
local test = require "test"

local eq, raises, has = test.eq, test.raises, test.has

local DEAD <const> = 0xfff0

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

local server

--- Answers after `cs`; or fails, or never answers.
local function serve()
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, cmd, ...)
			if cmd == "sleep" then
				skynet.sleep((...))
				skynet.retpack(...)
			elseif cmd == "fail" then
				error "failed"
			elseif cmd == "never" then
				skynet.response()
			elseif cmd == "bytes" then
				skynet.ret "\255\255"
			else
				skynet.retpack(...)
			end
		end)
	end)
end

case("answers come as they arrive, with all their values", function()
	server = test.spawn(serve)
	local slow, fast = { server, "lua", "sleep", 5, "slow" }, { server, "lua", "echo", nil, "x", nil, n = 6, id = 7 }
	local order = {}
	local request = skynet.request(slow)
	eq(request:add(fast), request)
	for req, resp in request:select() do
		order[#order + 1] = req
		if req == fast then
			eq(resp, { n = 3, [2] = "x" })
			eq(req.id, 7)
		else
			eq(resp, { 5, "slow", n = 2 })
		end
	end
	eq(#order, 2)
	eq(order[1] == fast and order[2] == slow, true)
	eq(request.timeout, nil)
	eq(skynet.task(), 0)
end)

case("requests can be chained; errors are false, dead addresses nil and first", function()
	local ok, bad, dead1, dead2 = { server, "lua", "echo", 1 }, { server, "lua", "fail" }, { DEAD, "lua" }, { ".nobody", "lua" }
	local got, n = {}, 0
	for req, resp in skynet.request(ok)(dead1)(bad)(dead2):select() do
		n = n + 1
		got[n] = { req, resp }
	end
	eq(n, 4)
	assert(got[1][1] == dead2 and got[1][2] == nil)
	assert(got[2][1] == dead1 and got[2][2] == nil)
	for i = 3, 4 do
		if got[i][1] == bad then
			eq(got[i][2], false)
		else
			eq(got[i][2], { 1, n = 1 })
		end
	end
end)

case("timeout ends the loop", function()
	local quick, never = { server, "lua", "echo" }, { server, "lua", "never" }
	local request = skynet.request(quick)(never)
	local seen = 0
	local t = skynet.now()
	for req in request:select(5) do
		eq(req == quick, true)
		seen = seen + 1
	end
	eq(seen, 1)
	eq(request.timeout, true)
	assert(skynet.now() >= t + 5)
	-- In time: no flag, and the timer is forgotten.
	request = skynet.request(quick)
	for _, resp in request:select(10000) do
		eq(resp, { n = 0 })
	end
	eq(request.timeout, nil)
	eq(skynet.task(), 0)
end)

case("an empty select ends at once", function()
	for _ in skynet.request():select() do
		error "nothing was asked"
	end
	local request = skynet.request()
	for _ in request:select(10000) do
		error "nothing was asked"
	end
	eq(request.timeout, nil)
end)

case("the body may yield, call and be left early", function()
	local from = test.log_end()
	local request = skynet.request()
	for i = 1, 10 do
		request { server, "lua", "sleep", i % 3, i }
	end
	local sum = 0
	for _, resp in request:select(10000) do
		sum = sum + skynet.call(server, "lua", "echo", resp[2])
		skynet.yield()
	end
	eq(sum, 55)
	request = skynet.request { server, "lua", "echo" }
	request { server, "lua", "sleep", 2 }
	request { server, "lua", "fail" }
	for _ in request:select(3) do
		break
	end
	raises("leaving", function()
		for _ in skynet.request { server, "lua", "echo" } { server, "lua", "sleep", 2 }:select() do
			error "leaving"
		end
	end)
	-- What comes later meets nobody.
	skynet.sleep(10)
	eq(skynet.call(server, "lua", "echo", 1), 1)
	eq(string.find(test.log(from), "Unknown session"), nil)
	eq(skynet.task(), 0)
end)

case("iterating by hand needs close", function()
	local request = skynet.request { server, "lua", "echo", 1 } { server, "lua", "never" }
	local iterator, state, control, closing = request:select()
	eq(state, nil)
	eq(control, nil)
	eq(closing == request, true)
	local _, resp = iterator(state, control)
	eq(resp, { 1, n = 1 })
	request:close()
	eq(skynet.task(), 0)
end)

case("misuse", function()
	local request = skynet.request { server, "lua", "echo" }
	for _ in request:select() do
	end
	raises("assertion failed!", request.select, request)
	raises("assertion failed!", request.add, request, {})
	raises("assertion failed!", skynet.request, 5)
	raises("assertion failed!", function() skynet.request():add "text" end)
	raises("attempt to index a nil value", function()
		skynet.request { server, "no such protocol" }:select()
	end)
	skynet.register_protocol { name = "packs_only", id = 150, pack = skynet.pack }
	raises("assertion failed!", function()
		skynet.request { server, "packs_only" }:select()
	end)
	eq(skynet.task(), 0)
end)

case("an answer that cannot be unpacked does not hang the loop", function()
	local from = test.log_end()
	local good, broken = { server, "lua", "echo", "good" }, { server, "lua", "bytes" }
	local got, request = {}, skynet.request(broken)(good)
	for req, resp in request:select(100) do
		got[req] = resp
	end
	eq(got[good], { "good", n = 1 })
	eq(got[broken] or false, false)
	eq(type(test.log(from)), "string")
end)

case("a service that dies, and select in many tasks at once", function()
	local dying = test.spawn(serve)
	local running = {}
	for i = 1, 20 do
		running[i] = test.async(function()
			local n, failed = 0, 0
			local request = skynet.request()
			for _ = 1, 10 do
				request { dying, "lua", "never" }
				request { server, "lua", "echo", i }
			end
			for _, resp in request:select() do
				n = n + 1
				if not resp then
					failed = failed + 1
				else
					eq(resp[1], i)
				end
			end
			return n, failed
		end)
	end
	skynet.yield()
	skynet.send(dying, "debug", "EXIT")
	for i = 1, 20 do
		local n, failed = running[i]()
		eq(n, 20)
		eq(failed, 10)
	end
	eq(skynet.task(), 0)
end)

test.run(cases)
