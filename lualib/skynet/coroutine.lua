-- The `coroutine` table for code that blocks in skynet functions inside its
-- own coroutines. Two kinds of yields leave such a coroutine: ours starts with
-- USER and ends at `resume`; everything else, such as the framework's
-- "SUSPEND", goes on to the framework's thread, and its answer comes back.
local native = coroutine
local create, resume, status, running = native.create, native.resume, native.status, native.running
local native_yield, close = native.yield, native.close

local USER <const> = "USER"

local roots = setmetatable({}, { __mode = "kv" }) -- our coroutine -> framework thread
local blocked = setmetatable({}, { __mode = "k" }) -- those suspended by the framework

local M = {
	isyieldable = native.isyieldable,
	running = running,
}

local function root_of(co)
	return roots[co] or co
end

---@param f function
---@return thread
function M.create(f)
	local co = create(f)
	roots[co] = root_of(running())
	return co
end

local handle

local function unblock(co, ...)
	blocked[co] = nil
	return handle(co, resume(co, ...))
end

function handle(co, ok, ...)
	if not ok or status(co) == "dead" then
		return ok, ...
	elseif ... == USER then
		return true, select(2, ...)
	end
	blocked[co] = true
	return unblock(co, native_yield(...))
end

---@param co thread
---@return boolean, any ...
function M.resume(co, ...)
	if blocked[co] then
		return false, "cannot resume a skynet coroutine suspend by skynet framework"
	elseif not roots[co] then
		if status(co) == "dead" then
			return false, "cannot resume dead coroutine"
		end
		return false, "cannot resume none skynet coroutine"
	end
	roots[co] = root_of(running())
	return handle(co, resume(co, ...))
end

function M.yield(...)
	return native_yield(USER, ...)
end

--- As native, and "blocked" while suspended inside a skynet function.
---@param co thread
function M.status(co)
	local s = status(co)
	if s == "suspended" and blocked[co] then
		return "blocked"
	end
	return s
end

local function results(ok, ...)
	if not ok then
		error((...))
	end
	return ...
end

---@param f function
---@return function
function M.wrap(f)
	local co = M.create(f)
	return function(...)
		return results(M.resume(co, ...))
	end
end

--- The framework's thread that runs co, and whether co is that thread itself.
---@param co? thread
---@return thread, boolean
function M.thread(co)
	co = co or running()
	local root = roots[co]
	if root then
		return root, false
	end
	return co, true
end

---@param co? thread
function M.close(co)
	if co == nil then
		return close()
	end
	blocked[co] = nil
	return close(co)
end

return M
