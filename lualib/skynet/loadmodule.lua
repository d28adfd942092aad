-- `require` inside a coroutine: the module's file runs in Lua, so it may yield.
-- Other coroutines that ask for the module meanwhile wait.
local loaded = package.loaded
local traceback, getinfo = debug.traceback, debug.getinfo

-- A load in progress: { name, owner = thread, queued, outer, waiting tokens... }.
local loading = {} -- name -> load
local awaited = setmetatable({}, { __mode = "k" }) -- thread -> the load it waits for

local load = {}

-- Runs also when the loading coroutine fails or is killed.
function load.__close(self)
	loading[self.name] = nil
	self.queued[self.owner] = self.outer
	self.done = true
	for _, token in ipairs(self) do
		loaded.skynet.wakeup(token)
	end
end

-- A Lua loader for the module, as `require` would find it. nil for all that
-- native `require` handles: modules in C, missing and broken ones.
local function find(name)
	for _, searcher in ipairs(package.searchers) do
		local ok, loader, extra = pcall(searcher, name)
		if not ok then
			return
		end
		if type(loader) == "function" then
			if getinfo(loader, "S").what == "C" then
				return
			end
			return loader, extra
		end
	end
end

local function run(name, co, queued, loader, extra)
	local self <close> = setmetatable({ name = name, owner = co, queued = queued, outer = queued[co] }, load)
	local list = {}
	loading[name], queued[co] = self, list
	local ok, module = xpcall(loader, traceback, name, extra)
	local i = 1
	while ok and list[i] do
		local err
		ok, err = xpcall(list[i], traceback)
		module = ok and module or err
		i = i + 1
	end
	if not ok then
		error(module)
	end
	if module == nil then
		module = loaded[name]
		if module == nil then
			module = true
		end
	end
	loaded[name] = module
	return module
end

local function wait(self, name, co)
	local other = self
	while other and not other.done do
		if other.owner == co then
			error "circular dependency"
		end
		other = awaited[other.owner]
	end
	local token = {}
	self[#self + 1] = token
	awaited[co] = self
	repeat
		loaded.skynet.wait(token)
	until self.done
	awaited[co] = nil
	local module = loaded[name]
	if module == nil then
		error(string.format("require %s failed", name))
	end
	return module
end

---@param name string
---@param co thread the caller
---@param queued table init functions, see skynet.require
---@param native function Lua's own `require`
return function(name, co, queued, native)
	local other = loading[name]
	if other then
		return wait(other, name, co)
	end
	local loader, extra = find(name)
	if not loader then
		return native(name)
	end
	return run(name, co, queued, loader, extra)
end
