--- TCP and UDP for coroutines, over skynet.socketdriver.
--- Loading it registers the protocol "socket".
local skynet = require "skynet"
local driver = require "skynet.socketdriver"

local assert = assert
local running = coroutine.running

local socket = {}

--- More unread bytes than this stop the reading until somebody reads again.
local PAUSE_SIZE <const> = 128 * 1024

-- The driver's message kinds.
local DATA <const> = 1
local CONNECT <const> = 2
local CLOSE <const> = 3
local ACCEPT <const> = 4
local ERROR <const> = 5
local UDP <const> = 6
local WARNING <const> = 7

-- The fields of a record. A record is an array: ten thousand idle connections
-- are ten thousand records.
local CONNECTED <const> = 1 -- true, false (also while connecting)
local CO <const> = 2 -- the coroutine that waits for something, or false
local WANT <const> = 3 -- what a reader waits for: a size, a separator, READALL, or false
local BUFFER <const> = 4 -- unread bytes; false for listeners and UDP
local PAUSED <const> = 5 -- nil: reading; true: paused; false: closing, never resume
local CALLBACK <const> = 6 -- listener: accept(id, addr); UDP: receive(data, from)
local CONNECTING <const> = 7 -- true while connecting, then the reason of the failure
local CLOSING <const> = 8 -- the coroutine in close() that lets the reader finish first
local LIMIT <const> = 9 -- most unread bytes
local ON_WARNING <const> = 10
local LISTEN <const> = 11 -- a listener: { ip, port } once it listens
local PROTOCOL <const> = 12 -- "UDP", or nil

local READALL <const> = true

-- The driver keeps its blocks itself and takes any table here.
local POOL <const> = {}

--- id -> record. What is left when the service ends is closed.
local sockets = setmetatable({}, {
	__gc = function(all)
		for id in pairs(all) do
			driver.close(id)
		end
	end,
})

--- id -> function(id)
local onclose = {}

local function tcp_record()
	return { false, false, false, driver.buffer() }
end

local function wake(s)
	local co = s[CO]
	if co then
		s[CO] = false
		skynet.wakeup(co)
	end
end

--- Waits until the dispatcher wakes this coroutine; resumes a paused socket.
local function suspend(id, s)
	assert(not s[CO])
	local co = running()
	s[CO] = co
	if s[PAUSED] then
		skynet.error(string.format("Resume socket (%d)", id))
		driver.start(id)
		skynet.wait(co)
		-- Only now: while this reader waits the socket is not paused again.
		s[PAUSED] = nil
	else
		skynet.wait(co)
	end
	if s[CLOSING] then
		skynet.wakeup(s[CLOSING])
	end
end

local function pause_reading(id, s, size)
	if s[PAUSED] ~= nil then
		return
	end
	if size then
		skynet.error(string.format("Pause socket (%d) size : %d", id, size))
	else
		skynet.error(string.format("Pause socket (%d)", id))
	end
	driver.pause(id)
	s[PAUSED] = true
	-- What had been read before the pause arrives first.
	skynet.yield()
end

-- ---- the dispatcher ----

local on = {}

on[DATA] = function(id, size, data)
	local s = sockets[id]
	local buffer = s and s[BUFFER]
	if not buffer then
		skynet.error("socket: drop package from " .. id)
		driver.drop(data, size)
		return
	end
	local total = driver.push(buffer, POOL, data, size)
	local want = s[WANT]
	if math.type(want) == "integer" then
		if total < want then
			return
		end
	else
		local limit = s[LIMIT]
		if limit and total > limit then
			skynet.error(string.format("socket buffer overflow: fd=%d size=%d", id, total))
			driver.close(id)
			return
		end
		if want == READALL then
			return
		end
		if not want then
			if total > PAUSE_SIZE then
				pause_reading(id, s, total)
			end
			return
		end
		if not driver.readline(buffer, nil, want) then
			return
		end
	end
	s[WANT] = false
	if total > PAUSE_SIZE then
		pause_reading(id, s, total)
	end
	wake(s)
end

on[CONNECT] = function(id, ud, address)
	local s = sockets[id]
	if not s or s[CONNECTED] then
		return -- a start that resumed or took over
	end
	if s[LISTEN] == true then
		s[LISTEN] = { address, ud }
	end
	s[CONNECTED] = true
	wake(s)
end

on[CLOSE] = function(id)
	local s = sockets[id]
	if s then
		s[CONNECTED] = false
		wake(s)
	else
		driver.close(id)
	end
	local callback = onclose[id]
	if callback then
		callback(id)
		onclose[id] = nil
	end
end

local function is_running(id)
	for _, info in ipairs(driver.info()) do
		if info.id == id then
			return true
		end
	end
	return false
end

local function with_traceback(err)
	return type(err) == "string" and debug.traceback(err, 2) or err
end

on[ACCEPT] = function(id, newid, address)
	local s = sockets[id]
	local callback = s and s[CALLBACK]
	if not callback then
		driver.close(newid)
		return
	end
	local ok, err = xpcall(callback, with_traceback, newid, address)
	if not ok then
		-- Nobody will ever close it, unless someone has started it already.
		if not sockets[newid] and not is_running(newid) then
			driver.close(newid)
		end
		error(err, 0)
	end
end

on[ERROR] = function(id, _, text)
	local s = sockets[id]
	if not s then
		driver.shutdown(id)
		skynet.error("socket: error on unknown", id, text)
		return
	end
	if s[CALLBACK] and not s[CONNECTING] then
		skynet.error("socket: accept error:", text)
		return
	end
	if s[CONNECTED] then
		skynet.error("socket: error on", id, text)
	elseif s[CONNECTING] then
		s[CONNECTING] = text
	end
	s[CONNECTED] = false
	driver.shutdown(id)
	wake(s)
end

on[UDP] = function(id, size, data, from)
	local s = sockets[id]
	local callback = s and s[CALLBACK]
	if not callback then
		skynet.error("socket: drop udp package from " .. id)
		driver.drop(data, size)
		return
	end
	local text = skynet.tostring(data, size)
	driver.drop(data, size)
	callback(text, from)
end

on[WARNING] = function(id, kib)
	local s = sockets[id]
	local callback = s and s[ON_WARNING]
	if callback then
		callback(id, kib)
	else
		skynet.error(string.format("WARNING: %d K bytes need to send out (fd = %d)", kib, id))
	end
end

skynet.register_protocol {
	name = "socket",
	id = skynet.PTYPE_SOCKET,
	unpack = driver.unpack,
	dispatch = function(_, _, kind, ...)
		on[kind](...)
	end,
}

-- ---- opening ----

--- Registers a record and waits for CONNECT or ERROR.
local function connect(id, s)
	if id < 0 then
		return nil, "reach skynet socket number limit"
	end
	assert(not onclose[id], "socket has onclose callback")
	local old = sockets[id]
	if old and not old[LISTEN] then
		error("socket is not closed")
	end
	sockets[id] = s
	s[CONNECTING] = true
	suspend(id, s)
	local reason = s[CONNECTING]
	s[CONNECTING] = nil
	if s[CONNECTED] then
		return id
	end
	sockets[id] = nil
	return nil, reason ~= true and reason or nil
end

---@param addr string host, or host:port
---@param port integer?
---@return integer? id
---@return string? reason
function socket.open(addr, port)
	return connect(driver.connect(addr, port), tcp_record())
end

--- Adopts a descriptor of the operating system.
function socket.bind(os_fd)
	return connect(driver.bind(os_fd), tcp_record())
end

function socket.stdin()
	return socket.bind(0)
end

--- Starts an accepted socket (no callback) or a listener (with one).
---@param id integer
---@param accept fun(id: integer, addr: string)?
function socket.start(id, accept)
	local old = sockets[id]
	if old and old[LISTEN] and old[CALLBACK] then
		-- It runs already; the driver says nothing to another start.
		old[CALLBACK] = accept
		return id
	end
	driver.start(id)
	if not accept then
		return connect(id, tcp_record())
	end
	local s = { false, false, false, false }
	s[CALLBACK] = accept
	s[LISTEN] = old and old[LISTEN] or nil
	return connect(id, s)
end

---@return integer id
---@return string ip
---@return integer port
function socket.listen(host, port, backlog)
	local id = driver.listen(host, port, backlog)
	local s = { false, false, false, false }
	s[LISTEN] = true
	s[CONNECTING] = true
	sockets[id] = s
	suspend(id, s)
	s[CONNECTING] = nil
	if not s[CONNECTED] then
		sockets[id] = nil
		error "Listen error"
	end
	return id, s[LISTEN][1], s[LISTEN][2]
end

-- ---- reading ----

--- Waits until `want` is there, the socket is closed, or somebody closes it.
local function await(id, s, want)
	assert(not s[WANT])
	s[WANT] = want
	suspend(id, s)
	s[WANT] = false
end

--- All buffered bytes, or exactly `size` bytes; false and the rest on close.
---@param id integer
---@param size integer?
function socket.read(id, size)
	local s = assert(sockets[id])
	local buffer = s[BUFFER]
	if size == nil then
		local data = driver.readall(buffer, POOL)
		if data ~= "" then
			return data
		end
		if not s[CONNECTED] then
			return false, data
		end
		await(id, s, 0)
		data = driver.readall(buffer, POOL)
		if data ~= "" then
			return data
		end
		return false, data
	end
	local data = driver.pop(buffer, POOL, size)
	if data then
		return data
	end
	if s[CONNECTED] and not s[CLOSING] then
		await(id, s, size)
		data = driver.pop(buffer, POOL, size)
		if data then
			return data
		end
	end
	return false, driver.readall(buffer, POOL)
end

--- A line without its separator; false and the rest on close.
---@param id integer
---@param separator string? default "\n"
function socket.readline(id, separator)
	local s = assert(sockets[id])
	separator = separator or "\n"
	local line = driver.readline(s[BUFFER], POOL, separator)
	if line then
		return line
	end
	if s[CONNECTED] and not s[CLOSING] then
		await(id, s, separator)
		line = driver.readline(s[BUFFER], POOL, separator)
		if line then
			return line
		end
	end
	return false, driver.readall(s[BUFFER], POOL)
end

--- Everything until the peer closes.
function socket.readall(id)
	local s = assert(sockets[id])
	if not s[CONNECTED] then
		local data = driver.readall(s[BUFFER], POOL)
		return data ~= "" and data
	end
	assert(s[BUFFER], "Need buffer object at param 1")
	await(id, s, READALL)
	return driver.readall(s[BUFFER], POOL)
end

--- Waits for new data (true) or the end (false).
function socket.block(id)
	local s = sockets[id]
	if not s or not s[CONNECTED] then
		return false
	end
	await(id, s, 0)
	return s[CONNECTED]
end

-- ---- writing ----

--- write(id, msg [, sz]): false if it cannot be sent. Also `lwrite`, behind all other data.
socket.write = driver.send
socket.lwrite = driver.lsend

-- ---- closing ----

local function forget(id)
	local s = sockets[id]
	if s then
		driver.clear(s[BUFFER] or nil, POOL)
		sockets[id] = nil
	end
end

--- Closes and waits until it is closed; a coroutine that reads finishes first.
function socket.close(id)
	local s = sockets[id]
	if not s then
		return
	end
	driver.close(id)
	if s[CONNECTED] then
		s[PAUSED] = false
		if s[CO] then
			assert(not s[CLOSING])
			local co = running()
			s[CLOSING] = co
			skynet.wait(co)
		else
			suspend(id, s)
		end
		s[CONNECTED] = false
	end
	if sockets[id] == s then
		forget(id)
	end
end

--- Closes at once and throws away what is not sent; close() is still needed.
function socket.shutdown(id)
	if sockets[id] then
		driver.shutdown(id)
	end
end

--- Closes an id that this service has never started.
function socket.close_fd(id)
	assert(not sockets[id], "Use socket.close instead")
	driver.close(id)
end

--- Forgets an id without closing it, so that another service can start it.
function socket.abandon(id)
	local s = sockets[id]
	if s then
		s[CONNECTED] = false
		wake(s)
		forget(id)
	end
end

-- ---- the rest ----

function socket.pause(id)
	local s = sockets[id]
	if s then
		pause_reading(id, s)
	end
end

--- The most unread bytes before the socket is closed (not for read(id, n)).
function socket.limit(id, size)
	assert(sockets[id])[LIMIT] = size
end

--- callback(id, kib): so much waits to be sent; 0 when it has gone.
function socket.warning(id, callback)
	assert(sockets[id])[ON_WARNING] = callback
end

--- callback(id) when the socket is closed, by whomever.
function socket.onclose(id, callback)
	onclose[id] = callback
end

function socket.invalid(id)
	return sockets[id] == nil
end

function socket.disconnected(id)
	local s = sockets[id]
	if s then
		return not (s[CONNECTED] or s[CONNECTING])
	end
end

socket.header = driver.header
socket.netstat = driver.info
socket.resolve = driver.resolve
socket.udp_address = driver.udp_address

-- ---- UDP ----

local function udp_record(id, callback)
	assert(not sockets[id], "socket is not closed")
	local s = { true, false, false, false }
	s[CALLBACK] = callback
	s[PROTOCOL] = "UDP"
	sockets[id] = s
	return id
end

--- callback(data, from)
function socket.udp(callback, host, port)
	return udp_record(driver.udp(host, port), callback)
end

function socket.udp_listen(addr, port, callback)
	return udp_record(driver.udp_listen(addr, port), callback)
end

function socket.udp_dial(addr, port, callback)
	return udp_record(driver.udp_dial(addr, port), callback)
end

--- Sets the default destination of a UDP socket.
function socket.udp_connect(id, addr, port, callback)
	local s = sockets[id]
	assert(not s or s[PROTOCOL] == "UDP")
	driver.udp_connect(id, addr, port)
	if not s then
		udp_record(id, callback)
	elseif callback then
		s[CALLBACK] = callback
	end
end

socket.sendto = driver.udp_send

return socket
