-- The `require` of services, and the functions that `skynet.init` queues.
-- Every service holds this module, so it is three closures and nothing else;
-- loading inside a coroutine, where a module may yield, is skynet.loadmodule.
local native, loaded = require, package.loaded

-- Queued init functions: thread -> list, and true -> list of the main chunk.
-- false while nothing was queued, nil once the main chunk's list has been run.
local queued = false

assert(select(2, coroutine.running()), "skynet.require must be loaded by the main thread")

local M = {}

--- Like the standard one; in a coroutine the module may yield while it loads.
---@param name string
---@return any
function M.require(name)
	local module = loaded[name]
	if module ~= nil then
		return module
	end
	local co, main = coroutine.running()
	if main or type(name) ~= "string" then
		return native(name)
	end
	queued = queued or { [true] = queued }
	return native "skynet.loadmodule" (name, co, queued, native)
end

--- Queue f: in the main chunk until the service starts, in a module that is
--- being required by a coroutine until that `require` returns.
---@param f function
function M.init(f)
	assert(type(f) == "function")
	local co, main = coroutine.running()
	local list
	if main then
		queued = queued or { [true] = queued }
		list = queued[true] or {}
		queued[true] = list
	elseif queued then
		list = queued[co]
	end
	table.insert(list, f)
end

--- Run what the main chunk has queued. A second call is an error.
function M.init_all()
	local list = queued
	if list then
		list, queued[true] = queued[true], nil
	else
		queued = nil
	end
	if list ~= false then
		for _, f in ipairs(list) do
			f()
		end
	end
end

return M
