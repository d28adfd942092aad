-- Launches services and tells whoever asked for one when it has started. Knows
-- all services that were launched through it.
local skynet = require "skynet"
local core = require "skynet.core"
require "skynet.manager"

local services = {} -- handle -> "snlua name args"
local pending = {} -- handle -> response to the request that launched it
local sessions = {} -- handle -> session of that request

local NORET <const> = false -- the request has been or will be answered otherwise

local command = {}

local function launch(module, ...)
	local cmdline = module .. " " .. table.concat({ ... }, " ")
	local session = skynet.context()
	local response = skynet.response()
	local handle = core.addresscommand("LAUNCH", cmdline)
	if not handle then
		response(false, "can't launch " .. cmdline)
		return
	end
	services[handle], pending[handle], sessions[handle] = cmdline, response, session
	return handle
end

local function settle(handle, ok, value)
	local response = pending[handle]
	if response then
		pending[handle], sessions[handle] = nil, nil
		response(ok, value)
	end
end

function command.LAUNCH(_, module, ...)
	launch(module, ...)
	return NORET
end

function command.LOGLAUNCH(_, module, ...)
	local handle = launch(module, ...)
	if handle then
		core.command("LOGON", skynet.address(handle))
	end
	return NORET
end

function command.LAUNCHOK(handle)
	settle(handle, true, handle)
	return NORET
end

function command.ERROR(handle, cause)
	-- The caller of newservice does not know the handle: name what failed.
	local who = string.format("%s %s", skynet.address(handle), services[handle] or "")
	services[handle] = nil
	settle(handle, false, cause and string.format("%s: %s", who, cause) or who)
	return NORET
end

function command.REMOVE(_, handle, killed)
	services[handle] = nil
	if killed then
		settle(handle, false, string.format("service :%08x was killed before it had started", handle))
	else
		local response = pending[handle]
		if response then
			pending[handle], sessions[handle] = nil, nil
			response(true)
		end
	end
	return NORET
end

function command.KILL(_, handle)
	local description = services[handle]
	services[handle] = nil
	skynet.kill(handle)
	return { [skynet.address(handle)] = tostring(description) }
end

function command.LIST()
	local list = {}
	for handle, cmdline in pairs(services) do
		list[skynet.address(handle)] = cmdline
	end
	return list
end

function command.QUERY(_, session)
	for handle, s in pairs(sessions) do
		if s == session then
			return handle
		end
	end
end

-- Ask all services at once; format(answer, handle) makes an entry of the list.
local function ask_all(timeout, format, cmd)
	local list, request = {}, skynet.request()
	for handle in pairs(services) do
		list[handle] = "TIMEOUT"
		request:add { handle, "debug", cmd }
	end
	for req, answer in request:select(timeout) do
		list[req[1]] = answer and answer[1] or "ERROR"
	end
	local result = {}
	for handle, answer in pairs(list) do
		result[skynet.address(handle)] = format(answer, handle)
	end
	return result
end

function command.STAT(_, timeout)
	return ask_all(timeout, function(answer)
		return answer
	end, "STAT")
end

function command.MEM(_, timeout)
	local names = {}
	for handle, cmdline in pairs(services) do
		names[handle] = cmdline
	end
	return ask_all(timeout, function(answer, handle)
		if type(answer) == "number" then
			answer = string.format("%.2f Kb", answer)
		end
		return string.format("%s (%s)", answer, names[handle])
	end, "MEM")
end

function command.GC(_, timeout)
	for handle in pairs(services) do
		skynet.send(handle, "debug", "GC")
	end
	return command.MEM(_, timeout)
end

skynet.dispatch("lua", function(_, source, cmd, ...)
	local f = command[cmd] or command[string.upper(cmd)]
	if not f then
		skynet.retpack { "Unknown command" }
		return
	end
	local result = f(source, ...)
	if result ~= NORET then
		skynet.retpack(result)
	end
end)

-- Native services, and services that fail before they know the lua protocol.
skynet.register_protocol {
	name = "text",
	id = skynet.PTYPE_TEXT,
	unpack = skynet.tostring,
	dispatch = function(_, source, text)
		if text == "" then
			command.LAUNCHOK(source)
			return
		end
		local word, cause = string.match(text, "^(%S+)%s*(.*)$")
		if word ~= "ERROR" then
			error("Invalid text command " .. text)
		end
		command.ERROR(source, cause ~= "" and cause or nil)
	end,
}

skynet.start(function() end)
