-- Launching, naming and ending of services; extends the module `skynet`.
local skynet = require "skynet"
local core = require "skynet.core"

--- Launch a service of a native module. Nothing if that failed.
---@param ... string|number module and arguments, joined by blanks
---@return integer?
function skynet.launch(...)
	return core.addresscommand("LAUNCH", table.concat({ ... }, " "))
end

-- The handle that "kill" means, if it is known.
local function handle_of(address)
	if type(address) == "number" then
		return address
	end
	local first = string.sub(address, 1, 1)
	if first == ":" then
		return tonumber("0x" .. string.sub(address, 2))
	elseif first == "." then
		return skynet.localname(address)
	end
end

--- End a service from outside: it is not told. Never fails.
---@param address integer|string
function skynet.kill(address)
	local handle = handle_of(address)
	if handle then
		skynet.send(".launcher", "lua", "REMOVE", handle, true)
		address = skynet.address(handle)
	end
	core.command("KILL", address)
end

--- End the node.
function skynet.abort()
	core.command "ABORT"
end

-- Names that do not start with a dot are known in the whole harbor network.
local function register_global(name, handle)
	local first = string.sub(name, 1, 1)
	assert(first ~= ":")
	if first == "." then
		return false
	end
	assert(#name < 16)
	assert(tonumber(name) == nil)
	require "skynet.harbor".globalname(name, handle)
	return true
end

--- Name this service: ".x" on this node, other names in the harbor network.
---@param name string
function skynet.register(name)
	if not register_global(name) then
		core.command("REG", name)
	end
end

--- The same for any service.
---@param name string
---@param handle integer
function skynet.name(name, handle)
	if not register_global(name, handle) then
		core.command("NAME", name .. " " .. skynet.address(handle))
	end
end

local function start_as(start, ...)
	skynet.timeout(0, function()
		skynet.init_service(start)
	end)
	core.callback(...)
end

--- Instead of `skynet.start`: messages of the types that are keys of map are
--- dispatched as map[type], and their buffer then belongs to the handler.
---@param map table<integer, integer>
---@param start function
function skynet.forward_type(map, start)
	local dispatch = skynet.dispatch_message
	start_as(start, function(ptype, msg, sz, ...)
		local forwarded = map[ptype]
		if forwarded then
			return dispatch(forwarded, msg, sz, ...)
		end
		local ok, err = pcall(dispatch, ptype, msg, sz, ...)
		core.trash(msg, sz)
		if not ok then
			error(err)
		end
	end, true)
end

--- Instead of `skynet.start`: what f makes of each message is dispatched.
---@param f fun(ptype: integer, msg: lightuserdata, sz: integer, session: integer, source: integer): ...
---@param start function
function skynet.filter(f, start)
	local dispatch = skynet.dispatch_message
	start_as(start, function(...)
		return dispatch(f(...))
	end)
end

--- Make a network-unique service hear of every service that ends on this node.
---@param name string
---@param query? boolean only look it up
---@return integer
function skynet.monitor(name, query)
	local handle
	if query then
		handle = skynet.queryservice(true, name)
	else
		handle = skynet.uniqueservice(true, name)
	end
	assert(handle, "Monitor launch failed")
	core.command("MONITOR", skynet.address(handle))
	return handle
end

return skynet
