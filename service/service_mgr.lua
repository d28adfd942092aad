-- `.service`: services of which there is one. On the standalone node also the
-- global name `SERVICE`, with the services of which the network has one; their
-- keys start with "@".
local skynet = require "skynet"
require "skynet.manager"

-- key -> handle, text of a failure, or the state while there is none:
-- { launch = request, requests that wait... }, each request with its waiter's
-- { source, session, thread }.
local services = {}

local command = {}

local function real_name(key)
	return (string.gsub(key, "^@", ""))
end

local function this_request()
	local session, source = skynet.context()
	return { session = session, source = source, thread = coroutine.running() }
end

local function wake_all(state)
	state.settled = true
	for _, request in ipairs(state) do
		skynet.wakeup(request)
	end
end

local function launch(key, state, f, ...)
	state.launch = this_request()
	local ok, handle, err = pcall(f, ...)
	if not ok then
		services[key] = tostring(handle)
	else
		services[key], state.error = handle, handle == nil and err or nil
	end
	wake_all(state)
	if not ok then
		error(services[key])
	elseif state.error then
		error(state.error)
	end
	return handle
end

-- The service of a key. Launched by f if it is not there and nobody else is at
-- it; without f, or if somebody is, this waits.
local function obtain(key, f, ...)
	local state = services[key]
	if state == nil then
		state = {}
		services[key] = state
	elseif type(state) == "string" then
		error(state)
	elseif type(state) ~= "table" then
		return state
	end
	if f and not state.launch then
		return launch(key, state, f, ...)
	end
	local request = this_request()
	table.insert(state, request)
	repeat
		skynet.wait(request)
	until state.settled
	local handle = services[key]
	if type(handle) == "string" then
		error(handle)
	elseif state.error then
		error(state.error)
	end
	assert(type(handle) == "number")
	return handle
end

-- snaxd is one file for many services, so its first argument is part of the key.
local function key_of(name, sub)
	if real_name(name) == "snaxd" then
		return name .. "." .. sub
	end
	return name
end

function command.LAUNCH(name, sub, ...)
	local key, real = key_of(name, sub), real_name(name)
	if real == "snaxd" then
		return obtain(key, require "skynet.snax".rawnewservice, sub, ...)
	end
	return obtain(key, skynet.newservice, real, sub, ...)
end

function command.QUERY(name, sub)
	return obtain(key_of(name, sub))
end

-- A debug command; a service that does not answer must not hold up the list.
local function ask(address, ...)
	local request = skynet.request { address, "debug", ... }
	for _, answer in request:select(100) do
		return answer and tostring(answer[1]) or "ERROR"
	end
	return "TIMEOUT"
end

local function describe(state)
	local lines = {}
	local request = state.launch
	if request then
		local session = skynet.task(request.thread)
		local handle = skynet.call(".launcher", "lua", "QUERY", session)
		if handle then
			table.insert(lines, "Init as " .. skynet.address(handle))
			table.insert(lines, ask(handle, "TASK", "init"))
			table.insert(lines, "Launching from " .. skynet.address(request.source))
			table.insert(lines, ask(request.source, "TASK", request.session))
		end
	end
	if #state > 0 then
		table.insert(lines, "Querying:")
		for _, waiting in ipairs(table.move(state, 1, #state, 1, {})) do
			table.insert(lines, skynet.address(waiting.source) .. " " .. ask(waiting.source, "TASK", waiting.session))
		end
	end
	return table.concat(lines, "\n")
end

local function list()
	local snapshot = {}
	for key, state in pairs(services) do
		snapshot[key] = state
	end
	for key, state in pairs(snapshot) do
		if type(state) == "string" then
			snapshot[key] = "Error: " .. string.match(state, "^[^\n]*")
		elseif type(state) == "table" then
			snapshot[key] = describe(state)
		else
			snapshot[key] = skynet.address(state)
		end
	end
	return snapshot
end

-- The node that keeps the network's services, and hears of the other managers.
local function serve_network()
	local managers = {}

	function command.GLAUNCH(name, ...)
		return command.LAUNCH("@" .. name, ...)
	end

	function command.GQUERY(name, ...)
		return command.QUERY("@" .. name, ...)
	end

	function command.REPORT(handle)
		managers[handle] = true
	end

	function command.LIST()
		local all = {}
		local request = skynet.request()
		for handle in pairs(managers) do
			request:add { handle, "lua", "LIST" }
		end
		for req, answer in request:select(300) do
			local suffix = "@" .. skynet.harbor(req[1])
			for key, text in pairs(answer and answer[1] or {}) do
				all[key .. suffix] = text
			end
		end
		for key, text in pairs(list()) do
			all[key] = text
		end
		return all
	end
end

-- Any other node: asks `SERVICE` once per name.
local function use_network()
	local function remote(cmd, name, ...)
		local key = "@" .. name
		return obtain(key_of(key, ...), skynet.call, "SERVICE", "lua", cmd, key, ...)
	end

	function command.GLAUNCH(...)
		return remote("LAUNCH", ...)
	end

	function command.GQUERY(...)
		return remote("QUERY", ...)
	end

	command.LIST = list

	skynet.call("SERVICE", "lua", "REPORT", skynet.self())
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		local f = command[cmd]
		if f == nil then
			skynet.retpack(nil, "Invalid command " .. tostring(cmd))
			return
		end
		local ok, result = pcall(f, ...)
		if ok then
			skynet.retpack(result)
		else
			skynet.retpack(nil, result)
		end
	end)
	local other = skynet.localname ".service"
	if other then
		skynet.error(".service is already register by ", skynet.address(other))
		skynet.exit()
	end
	skynet.register ".service"
	if skynet.getenv "standalone" then
		skynet.register "SERVICE"
		serve_network()
	else
		use_network()
	end
end)
