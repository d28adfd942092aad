--- Every function of skynet.socket over TCP, its error paths and traps.
local skynet = require "skynet"
local socket = require "skynet.socket"
local driver = require "skynet.socketdriver"
local test = require "test"

local eq, raises, eventually = test.eq, test.raises, test.eventually

--- A connected pair of started sockets: ours and the accepted one. `keep` is the listener.
local function pair()
	local accepted
	local listener, ip, port = socket.listen("127.0.0.1", 0)
	socket.start(listener, function(id)
		accepted = id
	end)
	local client = assert(socket.open(ip, port))
	eventually(function() return accepted end, "an accepted connection")
	assert(socket.start(accepted))
	socket.close(listener)
	return client, accepted
end

local function close_both(a, b)
	socket.close(a)
	socket.close(b)
end

--- Runs f in a coroutine; the returned function waits for its results.
local function async(f, ...)
	local result
	skynet.fork(function(...)
		result = table.pack(pcall(f, ...))
	end, ...)
	return function()
		eventually(function() return result end, "the end of a coroutine")
		if not result[1] then
			error(result[2], 0)
		end
		return table.unpack(result, 2, result.n)
	end
end

--- Lets what was forked run until it waits.
local function settle()
	for _ = 1, 3 do
		skynet.yield()
	end
end

--- The peer has sent nothing and closes (readall is false if it has done so before).
local function expect_end(id)
	eq(socket.readall(id) or "", "")
end

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

case("listen gives id, address and the real port", function()
	local id, ip, port = socket.listen("127.0.0.1", 0)
	eq(math.type(id), "integer")
	eq(ip, "127.0.0.1")
	assert(port > 0)
	raises("Listen error", socket.listen, "127.0.0.1", port)
	socket.close(id)
	-- The port is free again.
	local id2, _, port2 = socket.listen("127.0.0.1", port)
	eq(port2, port)
	socket.close(id2)
end)

case("listen on IPv6", function()
	local id, ip, port = socket.listen("::1", 0)
	eq(ip, "::1")
	local peer
	socket.start(id, function(fd, addr)
		peer = addr
		socket.close_fd(fd)
	end)
	local client = assert(socket.open("[::1]:" .. port))
	-- No brackets: split at the last colon (trap 13).
	eventually(function() return peer end)
	eq(peer:match "^(.*):%d+$", "::1")
	close_both(client, id)
end)

case("open fails with a reason", function()
	local id, _, port = socket.listen("127.0.0.1", 0)
	socket.close(id)
	local fd, reason = socket.open("127.0.0.1", port)
	eq(fd, nil)
	eq(reason, "Connection refused")
	raises("Invalid address nowhere.", socket.open, "nowhere")
	raises("Invalid port in address h:x.", socket.open, "h:x")
	raises("Invalid port", socket.open, "127.0.0.1", 0)
	-- A host that is too long fails at once instead of waiting for ever.
	fd, reason = socket.open(string.rep("h", 300), 80)
	eq(fd, nil)
	eq(type(reason), "string")
end)

case("start errors", function()
	local client, server = pair()
	raises("socket is not closed", socket.start, server)
	local id, reason = socket.start(987654)
	eq(id, nil)
	eq(reason, "invalid socket")
	socket.onclose(987655, print)
	raises("socket has onclose callback", socket.start, 987655)
	socket.onclose(987655, nil)
	close_both(client, server)
end)

case("start of a listener twice replaces its callback", function()
	local first, second = 0, 0
	local id, ip, port = socket.listen("127.0.0.1", 0)
	socket.start(id, function(fd) first = first + 1 socket.close_fd(fd) end)
	eq(socket.start(id, function(fd) second = second + 1 socket.close_fd(fd) end), id)
	local client = assert(socket.open(ip, port))
	eventually(function() return second == 1 end)
	eq(first, 0)
	close_both(client, id)
end)

case("read: everything, exactly n, the rest", function()
	local client, server = pair()
	socket.write(client, "hello world")
	eq(socket.read(server, 5), "hello")
	eq(socket.read(server), " world")
	local got = async(socket.read, server, 4)
	settle()
	socket.write(client, "ab")
	socket.write(client, "cdef")
	eq(got(), "abcd")
	eq(socket.read(server, 1), "e")
	socket.close(client)
	local ok, rest = socket.read(server, 10)
	eq(ok, false)
	eq(rest, "f")
	ok, rest = socket.read(server)
	eq(ok, false)
	eq(rest, "")
	socket.close(server)
end)

case("read(id, 0) waits and then returns false and the data (trap 21)", function()
	local client, server = pair()
	local got = async(function() return { socket.read(server, 0) } end)
	settle()
	socket.write(client, "xy")
	eq(got(), { false, "xy" })
	close_both(client, server)
end)

case("readline", function()
	local client, server = pair()
	socket.write(client, "one\ntwo\r\nthree")
	eq(socket.readline(server), "one")
	eq(socket.readline(server, "\r\n"), "two")
	local got = async(socket.readline, server)
	settle()
	socket.write(client, " more\n\n")
	eq(got(), "three more")
	eq(socket.readline(server), "")
	-- A separator in two pieces.
	got = async(socket.readline, server, "<end>")
	settle()
	socket.write(client, "text<e")
	settle()
	socket.write(client, "nd>tail")
	eq(got(), "text")
	socket.close(client)
	-- An unterminated line is never success (trap 19).
	local ok, rest = socket.readline(server)
	eq(ok, false)
	eq(rest, "tail")
	close_both(client, server)
end)

case("readall", function()
	local client, server = pair()
	local got = async(socket.readall, server)
	settle()
	socket.write(client, "all ")
	socket.write(client, "of it")
	socket.close(client)
	eq(got(), "all of it")
	-- Closed and empty: false (trap 20).
	eq(socket.readall(server), false)
	socket.close(server)
	client, server = pair()
	got = async(socket.readall, server)
	settle()
	socket.close(client)
	eq(got(), "")
	socket.close(server)
end)

case("readall does not stall above 128 KiB", function()
	local client, server = pair()
	local got = async(socket.readall, server)
	settle()
	local text = string.rep("0123456789abcdef", 40000)
	socket.write(client, text)
	socket.close(client)
	eq(got() == text, true)
	socket.close(server)
end)

case("block waits for new data", function()
	local client, server = pair()
	socket.write(client, "old")
	eq(socket.read(server, 1), "o")
	local got = async(socket.block, server)
	settle()
	socket.write(client, "new")
	eq(got(), true)
	eq(socket.read(server), "ldnew")
	got = async(socket.block, server)
	settle()
	socket.close(client)
	eq(got(), false)
	eq(socket.block(server), false)
	eq(socket.block(987654), false)
	socket.close(server)
end)

case("readers that are wrong", function()
	local client, server = pair()
	for _, f in ipairs { socket.read, socket.readline, socket.readall } do
		raises("assertion failed!", f, 987654)
	end
	-- Only one coroutine may wait (trap 22).
	local got = async(socket.readline, server)
	settle()
	raises("assertion failed!", socket.readline, server)
	raises("assertion failed!", socket.read, server, 100)
	raises("assertion failed!", socket.block, server)
	socket.write(client, "line\n")
	eq(got(), "line")
	local listener = socket.listen("127.0.0.1", 0)
	for _, f in ipairs { socket.read, socket.readline, socket.readall } do
		raises("Need buffer object at param 1", f, listener)
	end
	socket.close(listener)
	close_both(client, server)
end)

case("write takes every form of message", function()
	local client, server = pair()
	eq(socket.write(client, "string,"), true)
	eq(socket.write(client, 12), true)
	eq(socket.write(client, { "a", 1, "b", nil, "hole" }), true)
	eq(socket.write(client, driver.str2p "block"), true)
	eq(socket.lwrite(client, "low"), true)
	eq(socket.read(server, 20), "string,12a1bblocklow")
	raises("string expected, got table", socket.write, client, { "a", {} })
	raises("got nil", socket.write, client, nil)
	raises("size expected", socket.write, client, (driver.str2p "leak"))
	eq(socket.write(987654, "nobody"), false)
	eq(socket.write(987654, driver.str2p "freed"), false)
	close_both(client, server)
	eq(socket.write(client, "closed"), false)
end)

case("write before the connection is made is queued", function()
	local listener, ip, port = socket.listen("127.0.0.1", 0)
	local got
	socket.start(listener, function(id)
		socket.start(id)
		got = socket.readline(id)
		socket.close(id)
	end)
	local fd
	local opened = async(function()
		fd = socket.open(ip, port)
		return fd
	end)
	-- The id is the next one: the driver hands them out in order.
	opened()
	socket.write(fd, "early\n")
	eventually(function() return got end)
	eq(got, "early")
	close_both(fd, listener)
end)

case("close lets a reader finish first (trap 23)", function()
	local client, server = pair()
	local order = {}
	skynet.fork(function()
		local ok, rest = socket.read(server, 100)
		order[#order + 1] = tostring(ok) .. ":" .. rest
	end)
	socket.write(client, "part")
	eventually(function()
		for _, info in ipairs(socket.netstat()) do
			if info.id == server then
				return info.read == 4
			end
		end
	end)
	settle()
	socket.close(server)
	order[#order + 1] = "closed"
	eq(order, { "false:part", "closed" })
	eq(socket.invalid(server), true)
	socket.close(server) -- nothing to do
	socket.close(client)
end)

case("close twice with a reader waiting raises (trap 22)", function()
	local client, server = pair()
	local reader = async(socket.readline, server)
	settle()
	local first = async(socket.close, server)
	local second = async(function()
		raises("assertion failed!", socket.close, server)
		return "raised"
	end)
	eq(second(), "raised")
	first()
	eq(reader(), false)
	socket.close(client)
end)

case("shutdown keeps the record until close", function()
	local client, server = pair()
	socket.shutdown(client)
	eventually(function() return socket.disconnected(client) end)
	eq(socket.invalid(client), false)
	expect_end(server)
	socket.shutdown(987654) -- nothing to do
	close_both(client, server)
	eq(socket.invalid(client), true)
end)

case("close_fd is for ids that are not held", function()
	local client, server = pair()
	raises("Use socket.close instead", socket.close_fd, client)
	local listener, ip, port = socket.listen("127.0.0.1", 0)
	socket.start(listener, function(id) socket.close_fd(id) end)
	local other = assert(socket.open(ip, port))
	expect_end(other)
	socket.close(other)
	socket.close(listener)
	close_both(client, server)
end)

case("invalid and disconnected", function()
	local client, server = pair()
	eq(socket.invalid(client), false)
	eq(socket.disconnected(client), false)
	eq(socket.disconnected(987654), nil)
	eq(socket.invalid(987654), true)
	socket.close(client)
	eq(socket.disconnected(client), nil)
	eventually(function() return socket.disconnected(server) end)
	eq(socket.invalid(server), false)
	socket.close(server)
end)

case("the peer's close leaves the write direction (trap 4)", function()
	local listener, ip, port = socket.listen("127.0.0.1", 0)
	local answered
	socket.start(listener, function(id)
		socket.start(id)
		socket.readall(id)
		answered = socket.write(id, "after")
		socket.close(id)
	end)
	local client = assert(socket.open(ip, port))
	socket.write(client, "request")
	socket.close(client)
	eventually(function() return answered ~= nil end)
	eq(answered, true)
	socket.close(listener)
end)

case("an accepted socket is deaf and mute until started (trap 1)", function()
	local listener, ip, port = socket.listen("127.0.0.1", 0)
	local id
	socket.start(listener, function(fd) id = fd end)
	local client = assert(socket.open(ip, port))
	eventually(function() return id end)
	eq(socket.write(id, "lost"), true)
	socket.write(client, "kept\n")
	socket.start(id)
	eq(socket.readline(id), "kept")
	socket.write(id, "heard\n")
	eq(socket.readline(client), "heard")
	close_both(client, id)
	socket.close(listener)
end)

case("onclose runs for every way to close (trap 26)", function()
	local client, server = pair()
	local order = {}
	socket.onclose(server, function(id)
		eq(id, server)
		order[#order + 1] = "onclose"
	end)
	local reader = async(function()
		socket.readall(server)
		order[#order + 1] = "reader"
	end)
	settle()
	socket.close(client)
	reader()
	eq(order, { "onclose", "reader" })
	socket.close(server)
	eq(order, { "onclose", "reader" })
	client, server = pair()
	local closed
	socket.onclose(client, function() closed = true end)
	socket.close(client)
	eq(closed, true)
	socket.close(server)
end)

case("pause and resume", function()
	local client, server = pair()
	socket.pause(server)
	socket.write(client, "waits\n")
	-- The next blocking read resumes.
	eq(socket.readline(server), "waits")
	socket.pause(987654) -- nothing to do
	socket.pause(server)
	socket.close(server) -- works on a paused socket
	socket.close(client)
end)

case("a socket nobody reads is paused and resumed", function()
	local client, server = pair()
	local size = 600 * 1024
	socket.write(client, string.rep("x", size))
	eventually(function()
		for _, info in ipairs(socket.netstat()) do
			if info.id == server then
				return info.reading == false
			end
		end
	end, "the pause")
	eq(#socket.read(server, size), size)
	close_both(client, server)
end)

case("limit closes a line reader that gets no line (trap 7.1)", function()
	local client, server = pair()
	socket.limit(server, 1000)
	raises("assertion failed!", socket.limit, 987654, 1)
	local got = async(function() return { socket.readline(server) } end)
	settle()
	socket.write(client, string.rep("x", 5000))
	local result = got()
	eq(result[1], false)
	assert(#result[2] > 1000, "the data stays readable")
	close_both(client, server)
	-- A reader of n bytes is not limited.
	client, server = pair()
	socket.limit(server, 10)
	got = async(socket.read, server, 5000)
	settle()
	socket.write(client, string.rep("y", 5000))
	eq(got(), string.rep("y", 5000))
	close_both(client, server)
end)

case("warning tells of a peer that does not read", function()
	local client, server = pair()
	socket.pause(server)
	local warnings = {}
	socket.warning(client, function(id, kib)
		eq(id, client)
		warnings[#warnings + 1] = kib
	end)
	raises("assertion failed!", socket.warning, 987654, print)
	local block = string.rep("z", 256 * 1024)
	local sent = 0
	repeat
		socket.write(client, block)
		sent = sent + #block
		skynet.yield()
	until #warnings > 0
	assert(warnings[1] >= 1024, warnings[1])
	eq(#socket.read(server, sent), sent)
	eventually(function() return warnings[#warnings] == 0 end, "the end of the warning")
	close_both(client, server)
end)

case("abandon hands a socket to another service", function()
	local echo = skynet.newservice "socket_echo"
	local listener, ip, port = socket.listen("127.0.0.1", 0)
	socket.start(listener, function(id)
		skynet.call(echo, "lua", "take", id)
	end)
	local client = assert(socket.open(ip, port))
	socket.write(client, "to the other\n")
	eq(socket.readline(client), "echo: to the other")
	-- Also one that was started here.
	local a, b = pair()
	socket.abandon(b)
	eq(socket.invalid(b), true)
	skynet.call(echo, "lua", "take", b)
	socket.write(a, "again\n")
	eq(socket.readline(a), "echo: again")
	socket.abandon(987654) -- nothing to do
	socket.close(a)
	socket.close(client)
	socket.close(listener)
	skynet.send(echo, "lua", "exit")
end)

case("abandon wakes a waiting reader", function()
	local client, server = pair()
	local got = async(function() return { socket.readline(server) } end)
	settle()
	socket.abandon(server)
	eq(got()[1], false)
	driver.close(server)
	socket.close(client)
end)

case("a service that ends closes its sockets", function()
	local echo = skynet.newservice "socket_echo"
	local client, server = pair()
	socket.abandon(server)
	skynet.call(echo, "lua", "take", server)
	skynet.send(echo, "lua", "exit")
	expect_end(client)
	socket.close(client)
end)

case("an accept callback that raises does not leak the connection", function()
	local listener, ip, port = socket.listen("127.0.0.1", 0)
	socket.start(listener, function() error "refused by the test" end)
	local client = assert(socket.open(ip, port))
	expect_end(client)
	socket.close(client)
	socket.close(listener)
end)

case("an accept callback may block while others are accepted (trap 25)", function()
	local listener, ip, port = socket.listen("127.0.0.1", 0)
	local count, token = 0, {}
	socket.start(listener, function(id)
		count = count + 1
		if count == 1 then
			skynet.wait(token)
		end
		socket.close_fd(id)
	end)
	local first = assert(socket.open(ip, port))
	local second = assert(socket.open(ip, port))
	expect_end(second)
	skynet.wakeup(token)
	expect_end(first)
	socket.close(first)
	socket.close(second)
	socket.close(listener)
end)

case("netstat", function()
	local client, server = pair()
	socket.write(client, "12345")
	eq(socket.read(server, 5), "12345")
	local found
	-- The writing worker counts after the bytes have gone out.
	eventually(function()
		found = {}
		for _, info in ipairs(socket.netstat()) do
			found[info.id] = info
		end
		return found[client].write == 5
	end, "the count of written bytes")
	eq(found[client].type, "TCP")
	eq(found[client].address, skynet.self())
	eq(found[server].read, 5)
	eq(type(found[client].peer), "string")
	eq(found[client].wbuffer, 0)
	local listener, _, port = socket.listen("127.0.0.1", 0)
	socket.start(listener, print)
	for _, info in ipairs(socket.netstat()) do
		if info.id == listener then
			eq(info.type, "LISTEN")
			eq(info.sock, "127.0.0.1:" .. port)
			eq(info.accept, 0)
		end
	end
	socket.close(listener)
	close_both(client, server)
end)

case("header", function()
	eq(socket.header "\1", 1)
	eq(socket.header "\1\2", 258)
	eq(socket.header "\255\255\255\255", 4294967295)
	raises("Invalid read ", socket.header, "")
	raises("Invalid read 12345", socket.header, "12345")
end)

case("resolve", function()
	local list = socket.resolve "127.0.0.1"
	eq(list[1], "127.0.0.1")
	raises("", socket.resolve, "no.such.name.invalid")
end)

case("udp_address", function()
	local ip, port = socket.udp_address "\1\0\80\127\0\0\1"
	eq(ip, "127.0.0.1")
	eq(port, 80)
	raises("Invalid udp address", socket.udp_address, "123456")
end)

case("UDP is refused clearly", function()
	raises("UDP sockets are not supported", socket.udp, print)
	raises("UDP sockets are not supported", socket.udp_listen, "127.0.0.1", 1, print)
	raises("UDP sockets are not supported", socket.udp_dial, "127.0.0.1", 1, print)
	raises("UDP sockets are not supported", socket.udp_connect, 987654, "127.0.0.1", 1)
	raises("UDP sockets are not supported", socket.sendto, 1, "x", "y")
end)

case("bind adopts a descriptor", function()
	local id, reason = socket.bind(999999)
	eq(id, nil)
	eq(reason, "reach skynet socket number limit")
	-- Standard input of a test is /dev/null or a closed pipe: one of the two outcomes.
	id, reason = socket.stdin()
	if id then
		socket.close(id)
	else
		eq(reason, "reach skynet socket number limit")
	end
end)

case("ids count up", function()
	local a = driver.connect("127.0.0.1", 1)
	local b = driver.connect("127.0.0.1", 1)
	assert(b > a)
end)

case("a line in many pieces is read once", function()
	local client, server = pair()
	local got = async(socket.readline, server)
	local piece = string.rep("p", 1000)
	for _ = 1, 100 do
		socket.write(client, piece)
		skynet.yield()
	end
	socket.write(client, "\n")
	eq(#got(), 100000)
	close_both(client, server)
end)

test.run(cases)
