-- Reads a snax file: runs it with magic globals and lists the methods it
-- defines. Both ends of a snax service read the same file, so the place in the
-- list is the method's id on the wire.
local skynet = require "skynet"

local SYSTEM <const> = { "init", "exit", "hotfix", "profile" }

local function load_file(path, name, env)
	local errors = {}
	for pattern in string.gmatch(path, "[^;]+") do
		local f, err = loadfile((string.gsub(pattern, "?", name)), "bt", env)
		if f then
			return f, pattern
		end
		errors[#errors + 1] = err
	end
	error(table.concat(errors, "\n"))
end

-- `accept` or `response`: assigning a function to a name defines a method.
local function group(methods, kind)
	local defined = {}
	return setmetatable({}, {
		__newindex = function(_, name, f)
			if type(name) ~= "string" then
				error(string.format("%s method only support string", kind))
			elseif type(f) ~= "function" then
				error(string.format("%s.%s must be function", kind, name))
			elseif defined[name] then
				error(string.format("%s.%s duplicate definition", kind, name))
			end
			defined[name] = true
			table.insert(methods, { #methods + 1, kind, name, f })
		end,
	})
end

-- What env does not have while the file runs: magic names, and what it defines.
local function scope(methods, globals)
	local magic = { accept = group(methods, "accept"), response = group(methods, "response") }
	local system = {}
	for id, name in ipairs(SYSTEM) do
		methods[id] = { id, "system", name }
		system[name] = methods[id]
	end
	return {
		__index = function(_, name)
			local v = globals[name]
			if v == nil then
				return magic[name]
			end
			return v
		end,
		__newindex = function(_, name, v)
			if not system[name] then
				globals[name] = v
			elseif type(v) ~= "function" then
				error(string.format("%s must be a function", name))
			else
				system[name][4] = v
			end
		end,
	}
end

--- Read the file of a snax service.
---@param name string
---@param env table globals for the file; what it defines is copied there
---@param loader? fun(path: string, name: string, env: table): function?, string
---@return table methods { id, "system" | "accept" | "response", name, function? }
---@return string pattern of the search path that matched
return function(name, env, loader)
	local path = assert(skynet.getenv "snax", "please set snax in config file")
	local main, pattern = (loader or load_file)(path, name, env)
	if not main then
		error("attempt to call a nil value\n" .. tostring(pattern))
	end
	assert(getmetatable(env) == nil)
	for _, magic in ipairs { "init", "exit", "accept", "response" } do
		assert(env[magic] == nil)
	end
	local methods, globals = {}, {}
	setmetatable(env, scope(methods, globals))
	local ok, err = xpcall(main, debug.traceback)
	setmetatable(env, nil)
	if not ok then
		error(err)
	end
	for k, v in pairs(globals) do
		env[k] = v
	end
	return methods, pattern
end
