-- One per remote debugging session: passes what the user types to the service
-- that is debugged, through a channel both own.
local skynet = require "skynet"
local debugchannel = require "skynet.debugchannel"

local channel

local command = {}

-- Returns when the user leaves the debugger, or could not enter it.
function command.start(address, fd)
	assert(channel == nil, "start more than once")
	skynet.error(string.format("Attach to :%08x", address))
	local handle
	channel, handle = debugchannel.create()
	if pcall(skynet.call, address, "debug", "REMOTEDEBUG", fd, handle) then
		skynet.retpack(true)
	else
		skynet.retpack(false, "Debugger attach failed")
	end
	skynet.exit()
end

function command.cmd(line)
	channel:write(line)
end

function command.ping()
	skynet.ret()
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		command[cmd](...)
	end)
end)
