-- Single operations, nanoseconds each.
local skynet = require "skynet"
local bench = require "benchlib"

local function measure(name, count, f)
	f(count // 10) -- warm up
	local t = bench.now()
	f(count)
	bench.report("micro_" .. name, (bench.now() - t) / count * 1e9, "ns")
end

skynet.start(function()
	local echo = skynet.newservice "b_echo"
	skynet.dispatch("lua", function() end)
	local me = skynet.self()

	-- Sent to oneself and dispatched.
	measure("send", 500000, function(count)
		for i = 1, count do
			skynet.send(me, "lua", i, "ping")
			if i % 100 == 0 then
				skynet.yield()
			end
		end
	end)
	measure("call", 300000, function(count)
		for i = 1, count do
			skynet.call(echo, "lua", i, "ping")
		end
	end)
	measure("fork", 300000, function(count)
		local done = 0
		for i = 1, count do
			skynet.fork(function() done = done + 1 end)
			if i % 100 == 0 then
				skynet.yield()
			end
		end
	end)
	measure("timer", 200000, function(count)
		for i = 1, count do
			skynet.timeout(0, function() end)
			if i % 100 == 0 then
				skynet.yield()
			end
		end
	end)
	measure("spawn", 1000, function(count)
		for _ = 1, count do
			skynet.newservice "b_trivial"
		end
	end)
	measure("pack_unpack", 500000, function(count)
		for i = 1, count do
			local message, size = skynet.pack(i, "ping", true)
			skynet.unpack(message, size)
			skynet.trash(message, size)
		end
	end)
	bench.finish()
end)
