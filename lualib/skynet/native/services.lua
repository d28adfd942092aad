-- Unique services, through `.service`.
local skynet = ...

local function ask(...)
	local handle, err = skynet.call(".service", "lua", ...)
	if handle then
		return handle
	end
	if err then
		error(err, 0)
	end
	error("assertion failed!", 4)
end

local M = {}

---@param global true|string true: unique in the whole harbor network
function M.uniqueservice(global, ...)
	if global == true then
		return (ask("GLAUNCH", ...))
	end
	return (ask("LAUNCH", global, ...))
end

---@param global true|string
function M.queryservice(global, ...)
	if global == true then
		return (ask("GQUERY", ...))
	end
	return (ask("QUERY", global, ...))
end

return M
