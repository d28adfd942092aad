--- A gateserver whose message handler blocks on some packets.
local skynet = require "skynet"
local gateserver = require "snax.gateserver"
local netpack = require "skynet.netpack"
local driver = require "skynet.socketdriver"

local token = {}
local disconnected = 0

local handler = {}

function handler.open(_, conf)
	return conf
end

function handler.connect(fd)
	gateserver.openclient(fd)
end

function handler.message(fd, ptr, size)
	local text = netpack.tostring(ptr, size)
	if text == "wait" then
		skynet.wait(token)
	end
	driver.send(fd, text .. "\n")
end

function handler.disconnect(fd)
	disconnected = disconnected + 1
	gateserver.closeclient(fd)
end

function handler.command(command)
	if command == "release" then
		skynet.wakeup(token)
		return "released"
	elseif command == "disconnected" then
		return disconnected
	elseif command == "exit" then
		skynet.exit()
	end
	error("unknown command " .. command)
end

gateserver.start(handler)
