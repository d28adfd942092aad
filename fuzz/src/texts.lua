-- Tries the text of a message on the native modules.
local core = require "skynet.core"
local driver = require "skynet.socketdriver"
local netpack = require "skynet.netpack"

local function same(a, b, what)
	if a ~= b then
		core.error("BROKEN " .. what .. ": " .. ("%q is not %q"):format(a, b))
	end
end

local function try(f, ...)
	local ok, err = pcall(f, ...)
	if not ok then
		same(type(err), "string", "kind of error")
	end
	return ok
end

-- The functions that take an address, a name or a command.
local function addresses(text)
	local first, second = text:match "^([^ ]*) ?(.*)$"
	try(core.command, text)
	try(core.command, first, second)
	try(core.intcommand, "GETENV", second)
	try(core.addresscommand, "QUERY", text)
	core.command("SETENV", "number " .. text)
	try(core.intcommand, "GETENV", "number")
	try(core.send, text, 0, 0, "x")
	try(core.send, "." .. text, 0, nil, text)
	try(core.redirect, text, 7, 0, 0, "x")
	-- Not alone: no input may look like a report of this file.
	try(core.error, "text", text)
	for _, address in ipairs { text, text .. ":80", "[" .. text .. "]:80", "127.0.0.1:" .. text } do
		try(driver.connect, address)
		try(driver.listen, address)
	end
	try(driver.connect, text, #text)
	try(driver.listen, text, 0)
	try(driver.resolve, text)
	try(driver.udp_address, text)
	if try(driver.header, text) then
		same(driver.header(text), (string.unpack(">I" .. #text, text)), "header")
	end
end

-- Values: what was understood packs and unpacks again.
local function values(text)
	local r = table.pack(pcall(core.unpack, text))
	if r[1] then
		local ok, packed = pcall(core.packstring, table.unpack(r, 2, r.n))
		if ok then
			same(select("#", core.unpack(packed)), r.n - 1, "number of values")
			-- Of the same tables: others may have their pairs in another order.
			local block, size = core.pack(table.unpack(r, 2, r.n))
			same(core.tostring(block, size), packed, "pack and packstring")
			core.trash(block, size)
		end
	end
end

-- The byte queue against a string. `script` says what to do, one byte a step.
local function queue(script, text)
	local buffer, pool, model = driver.buffer(), {}, ""
	local at = 1
	for i = 1, math.min(#script, 100) do
		local byte = script:byte(i)
		local n = byte >> 2
		if byte & 3 == 0 then
			local piece = text:sub(at, at + n)
			at = at + n + 1
			model = model .. piece
			same(driver.push(buffer, pool, driver.str2p(piece)), #model, "push")
		elseif byte & 3 == 1 then
			local got, left = driver.pop(buffer, pool, n)
			local expected = n > 0 and n <= #model and model:sub(1, n) or nil
			model = expected and model:sub(n + 1) or model
			same(got, expected, "pop")
			same(left, #model, "left after pop")
		elseif byte & 3 == 2 then
			local separator = text:sub(n + 1, n + 1 + n % 3)
			if separator ~= "" then
				local from, to = model:find(separator, 1, true)
				same(driver.readline(buffer, nil, separator), from and true or nil, "a line there")
				same(driver.readline(buffer, pool, separator), from and model:sub(1, from - 1), "line")
				model = to and model:sub(to + 1) or model
			end
		elseif byte == 255 then
			driver.clear(buffer, pool)
			model = ""
		elseif byte > 240 then
			same(driver.readall(buffer, pool), model, "readall")
			model = ""
		end
	end
	same(driver.readall(buffer, pool), model, "the rest")
end

core.callback(function(kind, msg, size)
	local text = core.tostring(msg, size)
	if kind == 0 then
		same(netpack.tostring(netpack.pack(text)), string.pack(">s2", text), "packet")
		values(text)
		queue(text:sub(1, #text // 3), text:sub(#text // 3 + 1))
		core.error "DONE"
	elseif kind == 3 then
		-- Last, as some commands end the service, the log or the node.
		addresses(text)
	end
end)
