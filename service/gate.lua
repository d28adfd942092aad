--- The gate of the watchdog/agent model: clients send packets with a two-byte
--- length; the watchdog hears of connections, agents get the packets.
local skynet = require "skynet"
local gateserver = require "snax.gateserver"

local watchdog

--- fd -> { agent, client }: `agent` gets the packets as if `client` had sent them.
local connection = {}

skynet.register_protocol {
	name = "client",
	id = skynet.PTYPE_CLIENT,
}

local handler = {}

function handler.open(source, conf)
	watchdog = conf.watchdog or source
	return conf.address, conf.port
end

function handler.message(fd, ptr, size)
	local c = connection[fd]
	if c and c.agent then
		-- The buffer goes on as it is; the session tells the agent which fd it is.
		skynet.redirect(c.agent, c.client, "client", fd, ptr, size)
	else
		local data = skynet.tostring(ptr, size)
		skynet.trash(ptr, size)
		skynet.send(watchdog, "lua", "socket", "data", fd, data)
	end
end

function handler.connect(fd, addr)
	connection[fd] = {}
	skynet.send(watchdog, "lua", "socket", "open", fd, addr)
end

function handler.disconnect(fd)
	connection[fd] = nil
	skynet.send(watchdog, "lua", "socket", "close", fd)
end

function handler.error(fd, text)
	connection[fd] = nil
	skynet.send(watchdog, "lua", "socket", "error", fd, text)
end

function handler.warning(fd, kib)
	skynet.send(watchdog, "lua", "socket", "warning", fd, kib)
end

local commands = {}

--- Packets of `fd` go to `address` (default: the caller), with `client` as their source.
function commands.forward(source, fd, client, address)
	local c = assert(connection[fd])
	c.agent = address or source
	c.client = client or 0
	gateserver.openclient(fd)
end

--- Packets of `fd` go to the watchdog.
function commands.accept(_, fd)
	local c = assert(connection[fd])
	c.agent = nil
	c.client = nil
	gateserver.openclient(fd)
end

function commands.kick(_, fd)
	gateserver.closeclient(fd)
end

function handler.command(cmd, source, ...)
	return assert(commands[cmd])(source, ...)
end

gateserver.start(handler)
