-- Runs a snax file as a service.
local skynet = require "skynet"
local profile = require "skynet.profile"
local snax = require "skynet.snax"
local read_interface = require "snax.interface"

local name = tostring(...)
local loader = skynet.getenv "snax_loader"
local methods, pattern = read_interface(name, _G, loader and assert(dofile(loader)))

SERVICE_NAME = name
SERVICE_PATH = string.match(pattern, "^[^?]*") .. name .. "/"
package.path = SERVICE_PATH .. "?.lua;" .. package.path

local initialized = false
local statistics = {} -- method name -> { count, time }

local function count(method, time)
	local entry = statistics[method]
	if not entry then
		entry = { count = 0, time = 0 }
		statistics[method] = entry
	end
	entry.count = entry.count + 1
	entry.time = entry.time + time
end

local function answer(f, ...)
	return skynet.retpack(f(...))
end

local function timed(method, ...)
	local ok, err
	profile.start()
	if method[2] == "accept" then
		ok, err = xpcall(method[4], debug.traceback, ...)
	else
		ok, err = xpcall(answer, debug.traceback, method[4], ...)
	end
	count(method[3], profile.stop())
	if not ok then
		error(err)
	end
end

local system = {}

function system.init(method, ...)
	assert(not initialized, "Already init")
	if method[4] then
		method[4](...)
	end
	skynet.ret()
	skynet.info_func(function()
		return statistics
	end)
	initialized = true
end

function system.exit(method, ...)
	assert(initialized, "Never init")
	if method[4] then
		method[4](...)
	end
	skynet.ret()
	initialized = false
	skynet.exit()
end

function system.hotfix(_, ...)
	skynet.retpack(require "snax.hotfix"(methods, ...))
end

function system.profile()
	skynet.retpack(statistics)
end

local function dispatch(_, _, id, ...)
	local method = methods[id]
	if method[2] == "system" then
		system[method[3]](method, ...)
	else
		assert(initialized, "Init first")
		timed(method, ...)
	end
end

--- Serve the protocol `lua` too, for calls from other nodes of a cluster.
function snax.enablecluster()
	skynet.dispatch("lua", dispatch)
end

skynet.start(function()
	skynet.dispatch("snax", dispatch)
end)
