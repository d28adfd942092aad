-- Resident memory of SERVICES idle services of one kind, once they have been
-- quiet for a while.
local skynet = require "skynet"
local bench = require "benchlib"

local kind = ...

local SERVICES <const> = bench.env("BENCH_SERVICES", kind == "b_loaded" and 1000 or 5000)
local QUIET <const> = 800 -- centiseconds until garbage has been collected
local FILES <const>, LINES <const> = 50, 240

-- FILES files of LINES lines of plausible code: functions with locals, tables,
-- calls and constants of their own.
local function generate()
	for f = 1, FILES do
		local file = assert(io.open("generated_" .. f .. ".lua", "w"))
		file:write "local M = {}\n"
		for i = 1, (LINES - 2) // 7 do
			file:write(string.format([[
function M.handle_%d_%d(player, item, count)
	local total = (player.amount or %d) + count
	if total > %d then
		return nil, "limit_%d_%d"
	end
	player.items[item] = { id = item, count = total, from = "file_%d" }
end
]], f, i, i, f * i, f, i, f))
		end
		file:write "return M\n"
		file:close()
	end
end

skynet.start(function()
	if kind == "b_loaded" then
		generate()
	end
	skynet.newservice(kind) -- code caches warm
	skynet.sleep(QUIET)
	collectgarbage()
	local rss = bench.status "VmRSS"
	for _ = 1, SERVICES do
		skynet.newservice(kind)
	end
	skynet.sleep(QUIET)
	collectgarbage()
	bench.report(kind == "b_loaded" and "loaded_rss" or "resident_rss", (bench.status "VmRSS" - rss) / SERVICES, "bytes/service")
	bench.finish()
end)
