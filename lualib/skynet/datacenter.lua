-- A tree of values that the whole harbor network shares; see datacenterd.
local skynet = require "skynet"

local M = {}

--- Value at a path, nil if there is none. Tables are copies.
---@param ... any path
function M.get(...)
	return skynet.call("DATACENTER", "lua", "QUERY", ...)
end

--- Set the value at a path, nil deletes it. The old value.
---@param ... any path, then the value
function M.set(...)
	return skynet.call("DATACENTER", "lua", "UPDATE", ...)
end

--- Value at a path, as soon as there is one.
---@param ... any path
function M.wait(...)
	return skynet.call("DATACENTER", "lua", "WAIT", ...)
end

return M
