--- Runs the functions that suites send to it, each as one request that answers by itself.
local skynet = require "skynet"
local test = require "test"

skynet.start(function()
	skynet.dispatch("lua", function(_, _, names, code, ...)
		test.undump(names, code)(...)
	end)
end)
