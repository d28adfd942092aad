-- Keeper of the services that skynet.service defines by functions: each runs in
-- a service_cell. A failure is remembered until the name is closed.
local skynet = require "skynet"

-- name -> { handle, error, booting, init = text, time, waiting responses... }
local services = {}

local command = {}

local function describe(...)
	local args = table.pack(...)
	for i = 1, args.n do
		args[i] = tostring(args[i])
	end
	return table.concat(args, ",")
end

local function settle(self, ok, value)
	self.booting = nil
	for i, response in ipairs(self) do
		response(ok, value)
		self[i] = nil
	end
end

-- What a cell is doing is decided; nil while it is not.
local function result(self)
	if self.error then
		error(self.error)
	end
	return self.handle
end

local function boot(name, code, ...)
	local cell = skynet.newservice("service_cell", name)
	local ok, err = pcall(skynet.call, cell, "lua", "init", code, ...)
	if not ok then
		skynet.send(cell, "debug", "EXIT")
		error(err, 0)
	end
	return cell
end

function command.test(name)
	local self = services[name]
	if not self then
		skynet.ret()
		return
	end
	local handle = result(self)
	if handle then
		skynet.retpack(handle)
	elseif self.booting then
		skynet.retpack(nil, true)
	else
		skynet.ret()
	end
end

function command.query(name)
	local self = services[name] or {}
	services[name] = self
	local handle = result(self)
	if handle then
		skynet.retpack(handle)
	else
		self[#self + 1] = skynet.response()
	end
end

function command.launch(name, code, ...)
	local self = services[name] or {}
	services[name] = self
	local handle = result(self)
	if handle then
		skynet.retpack(handle)
		return
	elseif self.booting then
		self[#self + 1] = skynet.response()
		return
	end
	self.booting, self.time, self.init = true, skynet.time(), describe(...)
	local ok, value = pcall(boot, name, code, ...)
	if ok then
		self.handle = value
	else
		self.error = value
	end
	settle(self, ok, value)
	skynet.retpack(result(self))
end

function command.close(name)
	local self = services[name]
	if not self or self.booting then
		skynet.ret()
		return
	end
	services[name] = nil
	settle(self, false, "service " .. name .. " was closed")
	skynet.retpack(self.handle)
end

local function info()
	local list = {}
	for name, self in pairs(services) do
		local status
		if #self > 0 then
			status = "waiting(" .. #self .. ")"
		elseif self.booting then
			status = "booting"
		end
		list[self.handle and skynet.address(self.handle) or name] = {
			name = name,
			init = self.init,
			time = self.time and os.date("%Y %b %d %T %z", math.floor(self.time)),
			status = status,
		}
	end
	return list
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		command[cmd](...)
	end)
	skynet.info_func(info)
end)
