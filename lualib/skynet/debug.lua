-- The protocol `debug`, which every service answers. Loaded by the first
-- message of it, so that it costs nothing before.
local extension = {}

local M = {}

--- Add a command; it answers by itself. The built-in ones cannot be replaced.
---@param name string
---@param f function
function M.reg_debugcmd(name, f)
	extension[name] = f
end

--- export.dispatch is the message callback, export.info() gives the function of
--- skynet.info_func, export.resume(co) continues a coroutine that yielded no value.
---@param skynet table
---@param export table
---@return fun(session: integer, source: integer, cmd: string, ...) dispatch
function M.init(skynet, export)
	local collecting = false
	local command = {}

	function command.MEM()
		skynet.retpack(collectgarbage "count")
	end

	function command.GC()
		if collecting then
			return
		end
		collecting = true
		local before, start = collectgarbage "count", skynet.now()
		collectgarbage()
		skynet.yield()
		skynet.error(string.format("GC %.2f Kb -> %.2f Kb, cost %.2f sec", before, collectgarbage "count",
			(skynet.now() - start) / 100))
		collecting = false
	end

	function command.STAT()
		skynet.retpack {
			task = skynet.task(),
			mqlen = skynet.stat "mqlen",
			cpu = skynet.stat "cpu",
			message = skynet.stat "message",
		}
	end

	function command.TASK(which)
		if which then
			skynet.retpack(skynet.task(which))
		else
			local list = {}
			skynet.task(list)
			skynet.retpack(list)
		end
	end

	function command.UNIQTASK()
		skynet.retpack(skynet.uniqtask())
	end

	function command.KILLTASK(pattern)
		local co = skynet.killthread(pattern)
		if co then
			skynet.error(string.format("Kill %s", co))
			skynet.ret()
		else
			skynet.error(string.format("Kill %s : Not found", pattern))
			skynet.retpack "Not found"
		end
	end

	function command.INFO(...)
		local f = export.info()
		if f then
			skynet.retpack(f(...))
		else
			skynet.retpack(nil)
		end
	end

	function command.EXIT()
		skynet.exit()
	end

	function command.RUN(source, filename, ...)
		local inject = require "skynet.inject"
		local args = table.pack(...)
		local ok, lines = inject(skynet, source, filename, args, export.dispatch, skynet.register_protocol)
		collectgarbage()
		skynet.retpack(ok, table.concat(lines, "\n"))
	end

	function command.TERM(address)
		skynet.term(address)
	end

	function command.REMOTEDEBUG(...)
		require "skynet.remotedebug".start(export, ...)
	end

	function command.SUPPORT(name)
		skynet.retpack(skynet.dispatch(name) ~= nil)
	end

	function command.PING()
		skynet.ret()
	end

	-- Kept open, so the caller gets an error when this service exits.
	function command.LINK()
		skynet.response()
	end

	function command.TRACELOG(protocol, flag)
		if type(protocol) ~= "string" then
			protocol, flag = "lua", protocol
		end
		skynet.error(string.format("Turn trace log %s for %s", flag, protocol))
		skynet.traceproto(protocol, flag)
		skynet.ret()
	end

	return function(_, _, cmd, ...)
		local f = command[cmd] or extension[cmd]
		if not f then
			error(cmd)
		end
		f(...)
	end
end

return M
