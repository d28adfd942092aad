-- Unique services that are defined by a function instead of a file; the
-- service `service_provider` keeps them.
local skynet = require "skynet"
require "skynet.manager"

local known = {} -- name -> handle
local provider

local M = {}

local function ask(...)
	provider = provider or skynet.uniqueservice "service_provider"
	return skynet.call(provider, "lua", ...)
end

-- The code travels as text, so it may use globals and nothing else from outside.
local function dump(f)
	assert(debug.getinfo(f, "u").nups == 1)
	assert(debug.getupvalue(f, 1) == "_ENV")
	return string.dump(f)
end

--- The service `name`; f runs in it, with the arguments, if it is a new one.
---@param name string
---@param f function
---@return integer handle, when f has returned
function M.new(name, f, ...)
	local handle, booting = ask("test", name)
	if not handle then
		if booting then
			handle = ask("query", name)
		else
			handle = ask("launch", name, dump(f), ...)
		end
	end
	known[name] = handle
	return handle
end

--- The service `name`; waits until there is one.
---@param name string
---@return integer
function M.query(name)
	if not known[name] then
		known[name] = ask("query", name)
	end
	return known[name]
end

--- End the service `name`. False if there was none, or it failed or still boots.
---@param name string
---@return boolean
function M.close(name)
	known[name] = nil
	local handle = ask("close", name)
	if not handle then
		return false
	end
	skynet.kill(handle)
	return true
end

return M
