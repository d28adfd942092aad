-- skynet.task and skynet.uniqtask: what the service is waiting for.
local _, native = ...

local M = {}

local function list(into)
	for session, what in pairs(native.sessions()) do
		into[string.format("%s session: %d", what, session)] = native.traceback(session)
	end
end

function M.task(what)
	local kind = type(what)
	if what == nil then
		return native.count()
	elseif kind == "table" then
		list(what)
		return
	elseif kind == "number" then
		return native.traceback(what) or "No session"
	elseif what == "init" then
		local co = native.starting()
		if co then
			return debug.traceback(co)
		end
		return
	elseif kind == "thread" then
		return native.session_of(what)
	end
end

function M.uniqtask()
	local groups = {}
	for session, what in pairs(native.sessions()) do
		if type(what) == "thread" then
			local traceback = native.traceback(session)
			local group = groups[traceback] or {}
			groups[traceback] = group
			group[#group + 1] = session
		end
	end
	local result = {}
	for traceback, sessions in pairs(groups) do
		table.sort(sessions)
		local shown = table.concat(sessions, ",", 1, math.min(#sessions, 9))
		if #sessions > 9 then
			shown = shown .. "..."
		end
		result[string.format("%d\tsessions:[%s]\n", #sessions, shown)] = traceback
	end
	return result
end

return M
