-- The harbor network seen from a service; `.cslave` does the work.
local skynet = require "skynet"

local M = {}

--- Register a global name. Sent only: a duplicate is not reported.
---@param name string
---@param handle? integer this service if absent
function M.globalname(name, handle)
	skynet.send(".cslave", "lua", "REGISTER", name, handle or skynet.self())
end

--- The handle of a name; waits until somebody registers it.
---@param name string
---@return integer
function M.queryname(name)
	return skynet.call(".cslave", "lua", "QUERYNAME", name)
end

--- Wait until harbor id is gone.
---@param id integer
function M.link(id)
	skynet.call(".cslave", "lua", "LINK", id)
end

--- Wait until harbor id is connected.
---@param id integer
function M.connect(id)
	skynet.call(".cslave", "lua", "CONNECT", id)
end

--- Wait until the master is lost.
function M.linkmaster()
	skynet.call(".cslave", "lua", "LINKMASTER")
end

return M
