--- A TCP server for packets with a two-byte length in front.
--- Registers the protocol "socket": not to be mixed with skynet.socket in one service.
local skynet = require "skynet"
local netpack = require "skynet.netpack"
local driver = require "skynet.socketdriver"

local gateserver = {}

local listener -- id of the listening socket, or nil
local queue -- partial and finished packets (skynet.netpack)
local max_clients
local client_count = 0
local nodelay = false

--- fd -> true: read; false: accepted and not opened yet, or closed by the peer.
local connection = {}

--- Listeners that have been closed and whose last message has not come yet.
local closing = {}

--- Starts to read from a client.
function gateserver.openclient(fd)
	if connection[fd] ~= nil then
		connection[fd] = true
		driver.start(fd)
	end
end

--- Closes a client; its disconnect() follows if it was alive.
function gateserver.closeclient(fd)
	if connection[fd] ~= nil then
		connection[fd] = nil
		driver.close(fd)
	end
end

---@class gateserver.handler
---@field message fun(fd: integer, ptr: lightuserdata, size: integer) owns ptr
---@field connect fun(fd: integer, addr: string)
---@field disconnect? fun(fd: integer)
---@field error? fun(fd: integer, text: string)
---@field warning? fun(fd: integer, kib: integer)
---@field open? fun(source: integer, conf: table): any
---@field command? fun(cmd: string, source: integer, ...): any
---@field embed? boolean only register the dispatchers

---@param handler gateserver.handler
function gateserver.start(handler)
	assert(handler.message)
	assert(handler.connect)

	local listening -- coroutine of the open command that waits for the listener

	local commands = {}

	function commands.open(source, conf)
		assert(not listener)
		local address = conf.address or "0.0.0.0"
		local port = assert(conf.port)
		max_clients = conf.maxclient or 1024
		nodelay = conf.nodelay
		skynet.error(string.format("Listen on %s %d", address, port))
		listener = driver.listen(address, port, conf.backlog)
		listening = { co = coroutine.running(), conf = conf }
		skynet.wait(listening.co)
		local failure = listening.failure
		listening = nil
		if failure then
			listener = nil
			error(failure)
		end
		driver.start(listener)
		if handler.open then
			return handler.open(source, conf)
		end
	end

	function commands.close()
		local id = assert(listener)
		listener = nil
		closing[id] = true
		driver.close(id)
	end

	local on = {}

	local function deliver(fd, ptr, size)
		if connection[fd] then
			handler.message(fd, ptr, size)
		else
			skynet.error(string.format("Drop message from fd (%d) : %s", fd, netpack.tostring(ptr, size)))
		end
	end

	on.data = deliver

	--- Hands out what has been cut into packets; a handler that blocks
	--- does not hold back the packets behind its own.
	local function deliver_all()
		local fd, ptr, size = netpack.pop(queue)
		if not fd then
			return
		end
		skynet.fork(deliver_all)
		while fd do
			deliver(fd, ptr, size)
			fd, ptr, size = netpack.pop(queue)
		end
	end

	on.more = deliver_all

	function on.open(fd, addr)
		client_count = client_count + 1
		if client_count >= max_clients then
			driver.shutdown(fd)
			return
		end
		if nodelay then
			driver.nodelay(fd)
		end
		connection[fd] = false
		handler.connect(fd, addr)
	end

	function on.close(fd)
		if fd == listener or closing[fd] then
			if fd == listener then
				listener = nil
			end
			closing[fd] = nil
			return
		end
		client_count = client_count - 1
		if connection[fd] ~= nil then
			-- The descriptor stays open for writing until closeclient.
			connection[fd] = false
		end
		if handler.disconnect then
			handler.disconnect(fd)
		end
	end

	function on.error(fd, text)
		if fd == listener then
			if listening then
				listening.failure = text
				skynet.wakeup(listening.co)
			else
				skynet.error("gateserver accept error:", text)
			end
			return
		end
		driver.shutdown(fd)
		if handler.error then
			handler.error(fd, text)
		end
	end

	function on.warning(fd, kib)
		if handler.warning then
			handler.warning(fd, kib)
		end
	end

	function on.init(id, addr, port)
		if listening and id == listener then
			listening.conf.address = addr
			listening.conf.port = port
			skynet.wakeup(listening.co)
		end
	end

	skynet.register_protocol {
		name = "socket",
		id = skynet.PTYPE_SOCKET,
		unpack = function(msg, size)
			return netpack.filter(queue, msg, size)
		end,
		dispatch = function(_, _, q, kind, ...)
			queue = q
			if kind then
				on[kind](...)
			end
		end,
	}

	local function init()
		skynet.dispatch("lua", function(_, source, cmd, ...)
			local command = commands[cmd]
			if command then
				skynet.ret(skynet.pack(command(source, ...)))
			else
				skynet.ret(skynet.pack(handler.command(cmd, source, ...)))
			end
		end)
	end

	if handler.embed then
		init()
	else
		skynet.start(init)
	end
end

return gateserver
