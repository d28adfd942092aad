-- The first message of protocol `debug` loads what answers it.
local skynet, native = ...

local dispatch

local M = {}

function M.dispatch(...)
	if not dispatch then
		local init = require "skynet.debug".init
		dispatch = dispatch or init(skynet, {
			dispatch = native.dispatch_message,
			info = native.info,
			resume = native.resume,
			hook = native.hook,
		})
		skynet._proto.debug.dispatch = dispatch
	end
	return dispatch(...)
end

return M
