-- Services with named methods: `obj.req.f(...)` calls, `obj.post.f(...)` sends.
local skynet = require "skynet"
local read_interface = require "snax.interface"

skynet.register_protocol {
	name = "snax",
	id = skynet.PTYPE_SNAX,
	pack = skynet.pack,
	unpack = skynet.unpack,
}

local interfaces = {} -- snax name -> interface
local objects = setmetatable({}, { __mode = "v" }) -- handle -> object

local M = {}

-- The files are run here only for the names they define, so with no globals.
local function environment()
	local custom = skynet.getenv "snax_interface_g"
	if custom then
		return require(custom)
	end
	return { require = function() end }
end

--- Ids of a snax service's methods: { name, accept, response, system }.
---@param name string
---@return table
function M.interface(name)
	local interface = interfaces[name]
	if not interface then
		interface = { name = name, accept = {}, response = {}, system = {} }
		for _, method in ipairs((read_interface(name, environment()))) do
			interface[method[2]][method[3]] = method[1]
		end
		interfaces[name] = interface
	end
	return interface
end

local function methods(ids, send, handle, missing, name)
	return setmetatable({}, {
		__index = function(t, k)
			local id = ids[k]
			if not id then
				error(string.format(missing, name, k))
			end
			local function method(...)
				return send(handle, "snax", id, ...)
			end
			t[k] = method
			return method
		end,
	})
end

local function post(...)
	skynet.send(...)
end

local object = {}

function object.__tostring(self)
	return string.format("[%s:%x]", self.type, self.handle)
end

--- An object for a snax service that runs.
---@param handle integer
---@param name string
---@return table
function M.bind(handle, name)
	local self = objects[handle]
	if self then
		assert(self.type == name)
		return self
	end
	local interface = M.interface(name)
	self = setmetatable({
		post = methods(interface.accept, post, handle, "post %s:%s no exist", name),
		req = methods(interface.response, skynet.call, handle, "request %s:%s no exist", name),
		type = name,
		handle = handle,
	}, object)
	objects[handle] = self
	return self
end

--- Start a snax service; the arguments go to its init.
---@param name string
---@return integer handle
function M.rawnewservice(name, ...)
	local interface = M.interface(name)
	local handle = skynet.newservice("snaxd", name)
	objects[handle] = nil -- handles come round again
	skynet.call(handle, "snax", interface.system.init, ...)
	return handle
end

---@param name string
---@return table object
function M.newservice(name, ...)
	return M.bind(M.rawnewservice(name, ...), name)
end

local function from_manager(cmd, name, ...)
	return M.bind(assert(skynet.call(".service", "lua", cmd, "snaxd", name, ...)), name)
end

---@param name string
function M.uniqueservice(name, ...)
	return from_manager("LAUNCH", name, ...)
end

---@param name string
function M.globalservice(name, ...)
	return from_manager("GLAUNCH", name, ...)
end

---@param name string
function M.queryservice(name)
	return from_manager("QUERY", name)
end

---@param name string
function M.queryglobal(name)
	return from_manager("GQUERY", name)
end

--- End a snax service by its own exit function.
---@param obj table
function M.kill(obj, ...)
	return skynet.call(obj.handle, "snax", M.interface(obj.type).system.exit, ...)
end

--- This service, if it is one.
function M.self()
	return M.bind(skynet.self(), SERVICE_NAME)
end

function M.exit(...)
	return M.kill(M.self(), ...)
end

local function check(ok, ...)
	if not ok then
		error((...))
	end
	return ...
end

--- Replace functions of a running service, see snax.hotfix.
---@param obj table
---@param source string
function M.hotfix(obj, source, ...)
	return check(skynet.call(obj.handle, "snax", M.interface(obj.type).system.hotfix, source, ...))
end

--- Runs and CPU seconds per method: name -> { count, time }.
---@param obj table
---@return table
function M.profile_info(obj)
	return skynet.call(obj.handle, "snax", M.interface(obj.type).system.profile)
end

---@param fmt string
function M.printf(fmt, ...)
	skynet.error(string.format(fmt, ...))
end

return M
