--- Notes which services of the node end: { handle, session, size of the message }.
local skynet = require "skynet"

local ended = {}

skynet.register_protocol {
	name = "client",
	id = skynet.PTYPE_CLIENT,
	unpack = function(_, sz) return sz end,
	dispatch = function(session, source, sz)
		ended[#ended + 1] = { source, session, sz }
	end,
}

skynet.start(function()
	skynet.dispatch("lua", function() skynet.retpack(ended) end)
end)
