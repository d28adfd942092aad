--- The service `gate` and snax.gateserver, as measured on upstream.
local skynet = require "skynet"
local socket = require "skynet.socket"
local test = require "test"

local eq, raises, eventually = test.eq, test.raises, test.eventually

local heard = {} -- messages to the watchdog
local packets = {} -- packets to the agent

skynet.register_protocol {
	name = "client",
	id = skynet.PTYPE_CLIENT,
	unpack = skynet.tostring,
	dispatch = function(session, source, text)
		skynet.ignoreret()
		packets[#packets + 1] = { session, source, text }
	end,
}

--- Takes the oldest message, waiting for it.
local function next_of(list)
	eventually(function() return #list > 0 end, "a message")
	return table.remove(list, 1)
end

local gate, port
local function call(...)
	return skynet.call(gate, "lua", ...)
end

local function connect()
	local client = assert(socket.open("127.0.0.1", port))
	local event = next_of(heard)
	eq(event[1], "open")
	eq(event[3]:match "^127%.0%.0%.1:%d+$", event[3])
	return client, event[2]
end

local function write(client, text)
	socket.write(client, string.pack(">s2", text))
end

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

case("open gives the real address and port", function()
	skynet.dispatch("lua", function(_, _, what, ...)
		eq(what, "socket")
		heard[#heard + 1] = table.pack(...)
	end)
	gate = skynet.newservice "gate"
	local ip
	ip, port = call("open", { address = "127.0.0.1", port = 0, maxclient = 3, nodelay = true })
	eq(ip, "127.0.0.1")
	assert(port > 0)
	raises("call failed", call, "open", { address = "127.0.0.1", port = 0 })
end)

local client, fd
case("accept: packets go to the watchdog", function()
	client, fd = connect()
	write(client, "early")
	call("accept", fd)
	local event = next_of(heard)
	eq({ event[1], event[2], event[3] }, { "data", fd, "early" })
	socket.write(client, "\0\3one\0\3two\0\0")
	for _, text in ipairs { "one", "two", "" } do
		event = next_of(heard)
		eq({ event[1], event[2], event[3] }, { "data", fd, text })
	end
end)

case("forward: packets go to the agent, the session is the fd", function()
	call("forward", fd)
	write(client, "to agent")
	eq(next_of(packets), { fd, gate, "to agent" })
	call("forward", fd, 291, skynet.self())
	write(client, "x")
	eq(next_of(packets), { fd, 0x123, "x" })
end)

case("errors and no errors", function()
	raises("call failed", call, "forward", 9999)
	raises("call failed", call, "accept", 9999)
	call("kick", 9999)
	raises("call failed", call, "nosuchcmd")
end)

local second, second_fd
case("a client over the limit is refused and its close is told (trap 42)", function()
	second, second_fd = connect()
	local third = assert(socket.open("127.0.0.1", port))
	local event = next_of(heard)
	eq(event[1], "close")
	assert(event[2] ~= fd and event[2] ~= second_fd)
	eq(socket.readall(third) or "", "")
	socket.close(third)
end)

case("close and kick", function()
	socket.close(client)
	local event = next_of(heard)
	eq({ event[1], event[2] }, { "close", fd })
	call("kick", fd)
	call("kick", second_fd)
	event = next_of(heard)
	eq({ event[1], event[2] }, { "close", second_fd })
	eq(socket.readall(second) or "", "")
	socket.close(second)
end)

case("close of the listener, and opening again", function()
	call "close"
	raises("call failed", call, "close")
	local _, again = call("open", { address = "127.0.0.1", port = 0 })
	port = again
	client, fd = connect()
	eq(#heard, 0)
	-- Until it is opened the end of a client is not noticed.
	call("accept", fd)
	socket.close(client)
	eq(next_of(heard)[1], "close")
	call("kick", fd)
end)

case("a handler of one's own, with a blocking message", function()
	local server = skynet.newservice "gate_handler"
	local conf = { address = "127.0.0.1", port = 0 }
	local result = skynet.call(server, "lua", "open", conf)
	eq(type(result.port), "number")
	local c = assert(socket.open("127.0.0.1", result.port))
	socket.write(c, "\0\4wait\0\5first\0\4open")
	-- "wait" blocks and does not hold back those behind it (trap 47).
	eq(socket.readline(c), "first")
	eq(socket.readline(c), "open")
	eq(skynet.call(server, "lua", "release"), "released")
	eq(socket.readline(c), "wait")
	socket.close(c)
	eventually(function() return skynet.call(server, "lua", "disconnected") == 1 end, "the disconnect")
	skynet.send(server, "lua", "exit")
end)

test.run(cases)
