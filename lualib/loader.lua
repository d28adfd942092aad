-- Run once in every service, with the argument string of its launch: finds
-- the service's file, sets up the search paths and runs it. Only locals and
-- garbage are made here, since whatever stays costs every service.
local args = {}
for word in string.gmatch(..., "%S+") do
	args[#args + 1] = word
end

SERVICE_NAME = args[1]

-- Services inside the executable, for paths whose file is missing.
local function embedded(path)
	local find = require "skynet.embedded"
	package.loaded["skynet.embedded"] = nil
	return find(path)
end

local main, pattern
local errors = {}
for pat in string.gmatch(LUA_SERVICE, "[^;]+") do
	local path = string.gsub(pat, "?", SERVICE_NAME)
	local f, msg = loadfile(path)
	f = f or embedded(path)
	if f then
		main, pattern = f, pat
		break
	end
	errors[#errors + 1] = msg
end
if not main then
	pattern = "./service/?.lua"
	main = embedded("./service/" .. SERVICE_NAME .. ".lua") or error(table.concat(errors, "\n"))
end

LUA_SERVICE = nil
package.path, LUA_PATH = LUA_PATH, nil
package.cpath, LUA_CPATH = LUA_CPATH, nil

-- "./my/?/main.lua": a service that has a directory of its own.
SERVICE_PATH = string.match(pattern, "^.*/")
if SERVICE_PATH and not string.find(pattern, "?", #SERVICE_PATH + 1, true) then
	SERVICE_PATH = string.gsub(SERVICE_PATH, "?", SERVICE_NAME)
	package.path = SERVICE_PATH .. "?.lua;" .. package.path
end

if LUA_PRELOAD then
	assert(loadfile(LUA_PRELOAD))(table.unpack(args))
	LUA_PRELOAD = nil
end

require = require "skynet.require".require

return main(table.unpack(args, 2))
