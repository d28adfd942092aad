-- A service that has loaded (not run) 50 files.
local skynet = require "skynet"

local chunks = {}
for f = 1, 50 do
	chunks[f] = assert(loadfile("generated_" .. f .. ".lua"))
end

skynet.start(function()
	skynet.dispatch("lua", function()
		return chunks
	end)
end)
