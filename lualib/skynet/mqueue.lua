-- Deprecated: requests that are served strictly one after the other.
local skynet = require "skynet"

local running -- whether a coroutine is serving
local requests, first, last = {}, 1, 0

local M = {}

skynet.register_protocol {
	name = "queue",
	id = skynet.PTYPE_QUEUE,
	pack = skynet.pack,
	unpack = skynet.unpack,
}

local function check(ok, ...)
	if not ok then
		error((...))
	end
	return ...
end

--- Call a service that has registered a function; its errors are raised here.
---@param addr integer|string
function M.call(addr, ...)
	return check(skynet.call(addr, "queue", ...))
end

---@param addr integer|string
function M.send(addr, ...)
	return skynet.send(addr, "queue", ...)
end

--- Requests that wait.
---@return integer
function M.size()
	return last - first + 1
end

-- A send has no one to tell, so what goes wrong is an error of this service.
local function complain(source, what)
	skynet.fork(error, string.format("[:%x] send a message to [:%x] %s", source, skynet.self(), what), 0)
end

local function finish(request, ok, ...)
	if request.response then
		request.response(true, ok, ...)
	elseif not ok then
		complain(request.source, "throw an error : " .. tostring((...)))
	elseif ... then
		complain(request.source, "return something")
	end
end

local function serve(f)
	running = true
	while first <= last do
		local request = requests[first]
		requests[first], first = nil, first + 1
		finish(request, pcall(f, table.unpack(request, 1, request.n)))
	end
	running = false
end

--- Serve the protocol `queue` with f, which may yield. Once per service.
---@param f function
function M.register(f)
	assert(skynet.dispatch "queue" == nil)
	skynet.dispatch("queue", function(session, source, ...)
		local request = table.pack(...)
		request.source = source
		request.response = session ~= 0 and skynet.response()
		last = last + 1
		requests[last] = request
		if not running then
			serve(f)
		end
	end)
end

return M
