-- Memory of CONNECTIONS idle connections from another process, each with a
-- coroutine that waits for a line.
local skynet = require "skynet"
local socket = require "skynet.socket"
local bench = require "benchlib"

local PORT <const> = bench.env("BENCH_PORT", 17801)
local CONNECTIONS <const> = bench.env("BENCH_CONNECTIONS", 10000)
local QUIET <const> = 500 -- centiseconds until garbage has been collected

local rss
local accepted = 0

local function report()
	skynet.sleep(QUIET)
	collectgarbage()
	bench.report("idle_connection", (bench.status "VmRSS" - rss) / CONNECTIONS, "bytes/connection")
	bench.finish()
end

local function serve(id)
	socket.start(id)
	accepted = accepted + 1
	if accepted == CONNECTIONS then
		skynet.fork(report)
	end
	while socket.readline(id, "\n") do end
	socket.close(id)
end

skynet.start(function()
	local listener = socket.listen("127.0.0.1", PORT, 1024)
	socket.start(listener, function(id)
		skynet.fork(serve, id)
	end)
	collectgarbage()
	rss = bench.status "VmRSS"
	bench.line "READY"
end)
