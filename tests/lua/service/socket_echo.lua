--- Takes sockets over and echoes their lines.
local skynet = require "skynet"
local socket = require "skynet.socket"

local function echo(id)
	local line = socket.readline(id)
	while line do
		socket.write(id, "echo: " .. line .. "\n")
		line = socket.readline(id)
	end
	socket.close(id)
end

local commands = {}

function commands.take(id)
	assert(socket.start(id))
	skynet.fork(echo, id)
end

function commands.exit()
	skynet.exit()
end

skynet.start(function()
	skynet.dispatch("lua", function(session, _, command, ...)
		local result = commands[command](...)
		if session ~= 0 then
			skynet.retpack(result)
		end
	end)
end)
