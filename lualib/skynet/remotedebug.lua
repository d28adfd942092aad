-- A debugger for one service at a time, typed into from a socket: what comes is
-- read from a channel before every message, answers go straight to the socket.
local skynet = require "skynet"
local core = require "skynet.core"
local debugchannel = require "skynet.debugchannel"
local socketdriver = require "skynet.socketdriver"
local injectcode = require "skynet.injectcode"

local getinfo = debug.getinfo

local session -- { fd, channel, export, response, stopped = { thread, file, line } }

local function write(text)
	socketdriver.send(session.fd, text)
end

local function print_values(...)
	local values = table.pack(...)
	for i = 1, values.n do
		values[i] = tostring(values[i]) .. "\t"
	end
	write(table.concat(values) .. "\n")
end

local function prompt()
	local stopped = session.stopped
	if stopped then
		write(string.format("%s(%d)>", stopped.file, stopped.line))
	else
		write(skynet.address(skynet.self()) .. ">")
	end
end

-- Stepping: `depth` counts calls below the frame where the last step began;
-- the framework's own files are never stopped in.
local function framework_files(export)
	local files = {}
	for _, f in ipairs { export.dispatch, skynet.call, prompt, injectcode } do
		files[getinfo(f, "S").source] = true
	end
	return files
end

local function step(co, into)
	local depth, files = 0, framework_files(session.export)
	debugchannel.sethook(co, function(event, line)
		if not session then
			debugchannel.sethook(co)
		elseif event == "call" then
			depth = depth + 1
		elseif event == "return" then
			depth = depth - 1
		elseif event == "line" and (into or depth <= 0) then
			local source = getinfo(2, "S").source
			if not files[source] then
				session.stopped = { thread = co, file = string.match(source, "^@?(.*)"), line = line }
				debugchannel.sethook(co)
				prompt()
				return true
			end
		end
	end, "crl")
end

local function resume()
	local co = session.stopped.thread
	session.stopped = nil
	session.export.resume(co)
end

local function unhook(co, ...)
	debugchannel.sethook(co)
	return ...
end

-- One-shot breakpoint at the next message of a protocol.
local function watch(name, condition)
	local p = skynet._proto[name]
	if not p then
		return "No " .. tostring(name)
	end
	local original = p.dispatch
	if not original then
		return "No dispatch"
	end
	local function wrapper(...)
		if not session or condition and not condition(...) then
			return original(...)
		end
		if p.dispatch == wrapper then
			p.dispatch = original
		end
		local co = coroutine.running()
		step(co, true)
		return unhook(co, original(...))
	end
	p.dispatch = wrapper
end

-- An expression, or else a statement, in the frame of a coroutine.
local function evaluate(line, co, level, extra)
	local results = table.pack(injectcode("return " .. line, co, level, extra))
	if not results[1] then
		results = table.pack(injectcode(line, co, level, extra))
	end
	print_values(table.unpack(results, 2, results.n))
end

-- The level of the debugger itself: a frame whose varargs are the raw message.
local function idle(...)
	coroutine.yield(...)
end

local function leave()
	local stopped, response = session.stopped, session.response
	if session.unhook then
		session.unhook()
	end
	if stopped then
		debugchannel.sethook(stopped.thread)
		resume()
	end
	session = nil
	skynet.error "Leave debug mode"
	response(true)
end

local steps = {
	s = true,
	n = false,
}

local function execute(line, ...)
	local stopped = session.stopped
	if line == "cont" then
		leave()
		return
	elseif line == "" then
		prompt()
	elseif not stopped then
		local frame = coroutine.create(idle)
		coroutine.resume(frame, ...)
		evaluate(line, frame, 1, { print = print_values, watch = watch })
		prompt()
	elseif steps[line] ~= nil then
		step(stopped.thread, steps[line])
		resume()
		if not session.stopped then
			prompt()
		end
	elseif line == "c" then
		resume()
		prompt()
	else
		evaluate(line, stopped.thread, 0, { print = print_values, _CO = stopped.thread })
		prompt()
	end
end

-- Run before every message, with the message.
local function serve(...)
	while session do
		local line = session.channel:read()
		if not line then
			return
		end
		execute(string.match(line, "^(.-)%s*$"), ...)
	end
end

-- So that there is a message soon.
local function tick()
	if session then
		skynet.timeout(10, tick)
	end
end

-- The host may offer a hook; without one the callback is replaced meanwhile.
local function hook_messages(export)
	if export.hook then
		export.hook(serve)
		return function()
			export.hook(nil)
		end
	end
	local dispatch = export.dispatch
	core.callback(function(...)
		serve(...)
		return dispatch(...)
	end)
	return function()
		core.callback(dispatch)
	end
end

local M = {}

--- Enter debug mode; answers the current request when the user leaves it.
---@param export table see skynet.debug
---@param fd integer socket of the user
---@param handle lightuserdata of a debug channel
function M.start(export, fd, handle)
	assert(session == nil)
	session = {
		fd = fd,
		channel = debugchannel.connect(handle),
		export = export,
		response = skynet.response(),
	}
	session.unhook = hook_messages(export)
	skynet.error "Enter debug mode"
	prompt()
	tick()
end

return M
