--- Looks after the connections: starts an agent for each and ends it.
local skynet = require "skynet"

local gate
local agents = {} -- fd -> agent, or false while it is being started

local function close(fd)
	local agent = agents[fd]
	if agent == nil then
		return
	end
	agents[fd] = nil
	-- The peer may be gone, but the descriptor stays ours until it is closed.
	skynet.send(gate, "lua", "kick", fd)
	if agent then
		skynet.send(agent, "lua", "disconnect")
	end
end

local on = {}

function on.open(fd, addr)
	skynet.error("Player from", addr)
	agents[fd] = false
	local agent = skynet.newservice "agent"
	if agents[fd] == nil then
		-- It went away meanwhile.
		skynet.send(agent, "lua", "disconnect")
		return
	end
	agents[fd] = agent
	skynet.call(agent, "lua", "start", { gate = gate, watchdog = skynet.self(), fd = fd })
end

on.close = close

function on.error(fd, text)
	skynet.error("Connection", fd, text)
	close(fd)
end

--- A client that does not read what it is sent is not worth the memory.
function on.warning(fd, kib)
	if kib >= 1024 then
		skynet.error(string.format("Connection %d does not read (%d KiB wait), closed", fd, kib))
		close(fd)
	end
end

function on.data() end

local commands = {}

function commands.start(conf)
	return skynet.call(gate, "lua", "open", conf)
end

function commands.close(fd)
	close(fd)
end

skynet.start(function()
	skynet.dispatch("lua", function(session, _, command, event, ...)
		if command == "socket" then
			on[event](...)
			return
		end
		local f = assert(commands[command], command)
		if session == 0 then
			f(event, ...)
		else
			skynet.ret(skynet.pack(f(event, ...)))
		end
	end)
	gate = skynet.newservice "gate"
end)
