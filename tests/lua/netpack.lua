--- skynet.netpack and the byte queue of skynet.socketdriver, fed with records
--- made here: what the socket layer would deliver.
local skynet = require "skynet"
local netpack = require "skynet.netpack"
local driver = require "skynet.socketdriver"
local test = require "test"

local eq, raises = test.eq, test.raises

local DATA <const>, CONNECT <const>, CLOSE <const>, ACCEPT <const>, ERROR <const>, WARNING <const> = 1, 2, 3, 4, 5, 7

local function address(pointer)
	return math.tointeger(tonumber(string.format("%p", pointer)))
end

--- Calls f(..., message, size) with the record of a socket message.
local function deliver(kind, id, ud, text, f, ...)
	local record
	if kind == DATA then
		local block = driver.str2p(text)
		record = string.pack("<i4i4i4i4I8", kind, id, #text, 0, address(block))
	else
		record = string.pack("<i4i4i4i4I8", kind, id, ud, 0, 0) .. text
	end
	local message, size = driver.str2p(record)
	local args = table.pack(...)
	args[args.n + 1], args[args.n + 2] = message, size
	local result = table.pack(f(table.unpack(args, 1, args.n + 2)))
	driver.drop(message, size)
	return table.unpack(result, 1, result.n)
end

local function hex(text)
	return (text:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end))
end

local queue

--- The event of a chunk: "data" with its text, "more" with all packets, or nil.
local function feed(fd, chunk)
	local q, event, id, ptr, size = deliver(DATA, fd, 0, hex(chunk), netpack.filter, queue)
	queue = q
	if event == "data" then
		return "data", id, netpack.tostring(ptr, size)
	elseif event == "more" then
		local list = {}
		while true do
			local f, p, s = netpack.pop(queue)
			if not f then
				return "more", list
			end
			list[#list + 1] = f .. ":" .. netpack.tostring(p, s)
		end
	end
	return event
end

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

case("pack", function()
	for _, size in ipairs { 0, 1, 255, 256, 65535 } do
		local ptr, length = netpack.pack(string.rep("x", size))
		eq(length, size + 2)
		eq(netpack.tostring(ptr, length), string.pack(">s2", string.rep("x", size)))
	end
	raises("Invalid size (too long) of data : 65536", netpack.pack, string.rep("x", 65536))
	-- The pointer form copies and does not free.
	local block, size = driver.str2p "block"
	local ptr, length = netpack.pack(block, size)
	eq(netpack.tostring(ptr, length), "\0\5block")
	driver.drop(block, size)
	raises("string expected", netpack.pack, {})
end)

case("tostring of nothing", function()
	eq(netpack.tostring(nil, 0), "")
end)

case("filter cuts chunks into packets", function()
	local event, id, text = feed(5, "000568656c6c6f")
	eq({ event, id, text }, { "data", 5, "hello" })
	event, id, text = feed(5, "0000")
	eq({ event, id, text }, { "data", 5, "" })
	local list
	event, list = feed(5, "00016100026263")
	eq({ event, list }, { "more", { "5:a", "5:bc" } })
	-- One packet and a fragment of the next is "more" too.
	event, list = feed(5, "000568656c6c6f00")
	eq({ event, list }, { "more", { "5:hello" } })
	event, id, text = feed(5, "05776f726c64")
	eq({ event, id, text }, { "data", 5, "world" })
	eq(feed(5, "00"), nil)
	eq(feed(6, "0003"), nil)
	eq(feed(5, "0168"), "data")
	event, id, text = feed(6, "616263")
	eq({ event, id, text }, { "data", 6, "abc" })
end)

case("close and error forget the partial packet", function()
	eq(feed(5, "00056865"), nil)
	local q, event, id = deliver(CLOSE, 5, 0, "", netpack.filter, queue)
	eq({ event, id }, { "close", 5 })
	local _, _, text = feed(5, "00036e6577")
	eq(text, "new")
	eq(feed(5, "00056865"), nil)
	local reason
	q, event, id, reason = deliver(ERROR, 5, 0, "Connection reset by peer", netpack.filter, queue)
	eq({ event, id, reason }, { "error", 5, "Connection reset by peer" })
	assert(q == queue)
	_, _, text = feed(5, "00036e6577")
	eq(text, "new")
end)

case("other events", function()
	local q, event, a, b, c = deliver(ACCEPT, 1, 9, "127.0.0.1:5555", netpack.filter, nil)
	eq({ event, a, b }, { "open", 9, "127.0.0.1:5555" })
	eq(q, nil)
	q, event, a, b, c = deliver(CONNECT, 1, 8888, "0.0.0.0", netpack.filter, nil)
	eq({ event, a, b, c }, { "init", 1, "0.0.0.0", 8888 })
	q, event, a, b = deliver(WARNING, 5, 1024, "", netpack.filter, nil)
	eq({ event, a, b }, { "warning", 5, 1024 })
end)

case("clear", function()
	eq(feed(7, "00056865"), nil)
	netpack.clear(queue)
	local _, _, text = feed(7, "00036e6577")
	eq(text, "new")
	netpack.clear(nil)
	eq(netpack.pop(nil), nil)
end)

case("wrong arguments", function()
	raises("socket message expected", netpack.filter, nil, "text", 4)
	local block = driver.str2p(string.rep("\0", 24))
	raises("invalid size", netpack.filter, nil, block, 3)

	driver.drop(block, 24)
end)

case("the driver's byte queue", function()
	local buffer, pool = driver.buffer(), {}
	eq(driver.push(buffer, pool, driver.str2p "hello "), 6)
	eq(driver.push(buffer, pool, driver.str2p "world\nrest"), 16)
	eq({ driver.pop(buffer, pool, 100) }, { nil, 16 })
	eq({ driver.pop(buffer, pool, 0) }, { nil, 16 })
	eq({ driver.pop(buffer, pool, 6) }, { "hello ", 10 })
	eq(driver.readline(buffer, nil, "\n"), true)
	eq(driver.readline(buffer, pool, "\n"), "world")
	eq(select("#", driver.readline(buffer, pool, "\n")), 0)
	eq(select("#", driver.readline(buffer, nil, "\n")), 0)
	eq(driver.readline(buffer, pool, ""), "")
	eq(driver.readall(buffer, pool), "rest")
	eq(driver.readall(buffer, pool), "")
	driver.push(buffer, pool, driver.str2p "dropped")
	driver.clear(buffer, pool)
	eq(driver.readall(buffer, pool), "")
	driver.clear(nil, pool)
	raises("need buffer object at param 1", driver.push, {}, pool, driver.str2p "", 0)
	raises("need message block at param 3", driver.push, buffer, pool, nil, 0)
	raises("Need buffer object at param 1", driver.readall, nil, pool)
	raises("Need buffer object at param 1", driver.readline, io.stdout, pool, "\n")
	-- What is left is freed with the queue.
	for _ = 1, 1000 do
		driver.push(driver.buffer(), {}, driver.str2p(string.rep("x", 10000)))
	end
	collectgarbage()
end)

case("unpack", function()
	local kind, id, ud, data = deliver(ERROR, 3, 0, "text", driver.unpack)
	eq({ kind, id, ud, data }, { ERROR, 3, 0, "text" })
	kind, id, ud, data = deliver(DATA, 3, 0, "bytes", driver.unpack)
	eq({ kind, id, ud }, { DATA, 3, 5 })
	eq(skynet.tostring(data, ud), "bytes")
	driver.drop(data, ud)
	raises("socket message expected", driver.unpack, nil, 24)
end)

test.run(cases)
