--- The snax service of suite skynet_snax.
local skynet = require "skynet"
local snax = require "skynet.snax"

local count, greeting, notes = 0, "hello", {}
local token = {}

local function add(n)
	assert(n)
	count = count + n
	return count
end

function init(...)
	notes[1] = table.pack(...)
end

function exit(...)
	skynet.error("suite_snax exits", ...)
end

-- A patch finds what its helper uses, as both use globals.
function response.add(n)
	assert(n)
	return add(n), greeting
end

function response.echo(...)
	return ...
end

function response.fail()
	error "response failed"
end

function response.notes()
	return notes
end

function response.names()
	return SERVICE_NAME, tostring(snax.self()), type(accept), type(response)
end

function response.wait()
	skynet.wait(token)
	return "woken"
end

function response.leave(...)
	snax.exit(...)
end

function response.cluster()
	snax.enablecluster()
end

function accept.note(...)
	notes[#notes + 1] = table.pack(...)
end

function accept.wake()
	skynet.wakeup(token)
end

function accept.fail()
	error "accept failed"
end
