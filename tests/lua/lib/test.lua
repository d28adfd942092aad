--- The harness of the Lua suite. A suite is a service that ends with
---	test.run { { "name", function() ... end }, ... }
--- It runs the cases in order, prints one line for each, and ends the node.
local skynet = require "skynet"
require "skynet.manager"

-- What was printed is seen also if the process is killed.
io.stdout:setvbuf "line"

local test = {}

local function show(value)
	if type(value) == "string" then
		return string.format("%q", value)
	end
	return tostring(value)
end

--- Equal by value; tables by their contents.
function test.same(a, b)
	if type(a) ~= "table" or type(b) ~= "table" then
		return a == b and math.type(a) == math.type(b)
	end
	for k, v in pairs(a) do
		if not test.same(v, b[k]) then
			return false
		end
	end
	for k in pairs(b) do
		if a[k] == nil then
			return false
		end
	end
	return true
end

--- Fails unless the values that were got are the expected ones: eq(n, got..., expected...).
function test.eq(got, expected, what)
	if not test.same(got, expected) then
		error(string.format("%sgot %s, expected %s", what and what .. ": " or "", show(got), show(expected)), 2)
	end
end

--- Fails unless f(...) raises an error whose text contains `text`; returns the error.
function test.raises(text, f, ...)
	local ok, err = pcall(f, ...)
	if ok then
		error("no error, expected: " .. text, 2)
	end
	if not string.find(tostring(err), text, 1, true) then
		error(string.format("error %s, expected: %s", show(tostring(err)), text), 2)
	end
	return err
end

--- Waits until f() is true, letting others run; fails after a long while.
function test.eventually(f, what)
	for _ = 1, 3000 do
		local value = f()
		if value then
			return value
		end
		skynet.sleep(1)
	end
	error("never: " .. (what or "the condition"), 2)
end

-- What a function that runs in another service may use of the suite's locals.
local shared = {
	skynet = skynet,
	test = test,
	_ENV = _G,
}

--- Whether module skynet is the native one; one in Lua has none of our additions.
test.native = skynet.noyield ~= nil

--- Fails unless an error tells its cause; a library in Lua does not pass causes on.
function test.cause(text, part)
	if test.native and not string.find(tostring(text), part, 1, true) then
		error(string.format("%s is not in %s", show(part), show(text)), 2)
	end
end

local function dump(f)
	local names = {}
	for i = 1, 255 do
		local name = debug.getupvalue(f, i)
		if not name then
			break
		end
		assert(shared[name], "a function for another service uses the local " .. name)
		names[i] = name
	end
	return table.concat(names, " "), string.dump(f)
end

--- The function that `names` and `code` stand for; for the services of the suite.
function test.undump(names, code)
	local f = assert(load(code, "=remote", "b"))
	local i = 0
	for name in string.gmatch(names, "%S+") do
		i = i + 1
		local value = shared[name]
		debug.upvaluejoin(f, i, function() return value end, 1)
	end
	return f
end

--- A service that runs what test.at and test.post send to it.
function test.peer()
	return skynet.newservice "suite_peer"
end

--- Calls f(...) as a request in a peer: f itself answers.
function test.at(peer, f, ...)
	local names, code = dump(f)
	return skynet.call(peer, "lua", names, code, ...)
end

--- Calls f(...) in a peer, without an answer.
function test.post(peer, f, ...)
	local names, code = dump(f)
	return skynet.send(peer, "lua", names, code, ...)
end

local scripts = 0

--- The name by which the service suite_script finds f, to be its main chunk.
function test.script(f)
	local names, code = dump(f)
	scripts = scripts + 1
	local key = "script_" .. skynet.self() .. "_" .. scripts
	local hex = string.gsub(code, ".", function(c) return string.format("%02x", string.byte(c)) end)
	skynet.setenv(key, names .. "|" .. hex)
	return key
end

--- Starts a service whose main chunk is f; the arguments are words.
function test.spawn(f, ...)
	return skynet.newservice("suite_script", test.script(f), ...)
end

--- Runs f in a coroutine; the returned function waits for its results.
function test.async(f, ...)
	local result
	skynet.fork(function(...)
		result = table.pack(pcall(f, ...))
	end, ...)
	return function()
		test.eventually(function() return result end, "the end of a coroutine")
		if not result[1] then
			error(result[2], 0)
		end
		return table.unpack(result, 2, result.n)
	end
end

--- Where the node's log ends now.
function test.log_end()
	local file = assert(io.open("node.log", "rb"))
	local size = file:seek "end"
	file:close()
	return size
end

--- The node's log from `from` on.
function test.log(from)
	local file = assert(io.open("node.log", "rb"))
	file:seek("set", from or 0)
	local text = file:read "a"
	file:close()
	return text
end

--- Waits until the log has `text` after `from`; gives all that was logged since.
function test.logged(text, from)
	return test.eventually(function()
		local log = test.log(from)
		return string.find(log, text, 1, true) and log
	end, "in the log: " .. text)
end

--- Fails unless `part` is in `text`.
function test.has(text, part)
	if not string.find(tostring(text), part, 1, true) then
		error(string.format("%s is not in %s", show(part), show(text)), 2)
	end
	return text
end

local function run_all(cases)
	local failed = 0
	for _, case in ipairs(cases) do
		local name, f = case[1], case[2]
		local ok, err = xpcall(f, debug.traceback)
		if ok then
			print("ok " .. name)
		else
			failed = failed + 1
			print("FAILED " .. name .. "\n" .. tostring(err))
		end
	end
	print(failed == 0 and "SUITE PASSED" or "SUITE FAILED")
	io.stdout:flush()
	skynet.abort()
end

--- Starts the service and runs the cases.
function test.run(cases)
	skynet.start(function()
		skynet.fork(run_all, cases)
	end)
end

return test
