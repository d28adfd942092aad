-- `.cslave` of a node without a harbor network: keeps the global names, and
-- launches the native harbor service, which delivers messages to them.
local skynet = require "skynet"
require "skynet.manager"

local names = {} -- global name -> handle
local queries = {} -- name nobody has registered -> responses
local harbor -- handle of the native service

local command = {}

skynet.register_protocol {
	name = "harbor",
	id = skynet.PTYPE_HARBOR,
	pack = function(...)
		return ...
	end,
	unpack = skynet.tostring,
}

-- The harbor service asks for names; it hears of them as they are registered.
skynet.register_protocol {
	name = "text",
	id = skynet.PTYPE_TEXT,
	pack = function(...)
		return ...
	end,
	unpack = skynet.tostring,
	dispatch = function() end,
}

function command.REGISTER(name, handle)
	assert(names[name] == nil)
	names[name] = handle
	local waiting = queries[name] or {}
	queries[name] = nil
	for _, response in ipairs(waiting) do
		response(true, handle)
	end
	skynet.redirect(harbor, handle, "harbor", 0, "N " .. name)
end

function command.QUERYNAME(name)
	if string.sub(name, 1, 1) == "." then
		skynet.retpack(skynet.localname(name))
	elseif names[name] then
		skynet.retpack(names[name])
	else
		local waiting = queries[name] or {}
		queries[name] = waiting
		waiting[#waiting + 1] = skynet.response()
	end
end

-- Another harbor is never there, so it has gone already ...
function command.LINK()
	skynet.ret()
end

-- ... and will never come: as in a network that waits for it, no answer.
function command.CONNECT()
	skynet.error "Can't connect to other harbor in single node mode"
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		local f = command[cmd]
		assert(f)
		f(...)
	end)
	harbor = assert(skynet.launch("harbor", skynet.getenv "harbor", skynet.self()))
end)
