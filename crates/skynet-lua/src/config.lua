-- Runs a node's configuration: a Lua chunk that sees nothing but `include`.
-- Arguments: the path and the table of environment variables. Result: a list
-- of keys and values, one after the other. The line numbers in the messages are
-- fixed texts that tools know.
local path, environment = ...

local result = {}
local current = "./" -- where relative names are looked for; ends in a slash

local function getenv(name)
	return environment[name] or error("[skynet config]:2: os.getenv() failed: " .. name, 0)
end

local function include(filename)
	local outer = current
	local directory, name = string.match(filename, "^(.*/)([^/]*)$")
	if not directory then
		name = filename
	elseif string.sub(directory, 1, 1) == "/" then
		current = directory
	else
		current = current .. directory
	end
	local file <close>, message = io.open(current .. name)
	if not file then
		error("[skynet config]:17: " .. message, 0)
	end
	local text, message = file:read "a"
	if not text then
		error("[skynet config]:17: " .. current .. name .. ": " .. message, 0)
	end
	local chunk, message = load((string.gsub(text, "%$([%w_%d]+)", getenv)), "@" .. filename, "t", result)
	if not chunk then
		error("[skynet config]:21: " .. message, 0)
	end
	chunk()
	current = outer
end

setmetatable(result, { __index = { include = include } })
include(path)
setmetatable(result, nil)

local kinds = { string = true, number = true, boolean = true }
local list = {}
for key, value in next, result do
	if type(key) ~= "string" then
		error("Invalid config table", 0)
	end
	if not kinds[type(value)] then
		error("Invalid config table key = " .. key, 0)
	end
	list[#list + 1] = key
	list[#list + 1] = tostring(value)
end
return list
