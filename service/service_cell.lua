-- An empty service that becomes what its first request tells it to be.
local skynet = require "skynet"

local name = ...
local start = skynet.start

-- Here `skynet.start` has been called already, so it only remembers.
local function init(code, ...)
	local main
	function skynet.start(f)
		main = f
	end
	assert(load(code, name))(...)
	if main then
		main()
	end
	skynet.start = start
	skynet.ret()
end

start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		if cmd ~= "init" or not init then
			error "No dispatch function"
		end
		local f = init
		init = nil
		f(...)
	end)
end)
