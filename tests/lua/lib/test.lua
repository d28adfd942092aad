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
	for _ = 1, 6000 do
		local value = f()
		if value then
			return value
		end
		skynet.sleep(1)
	end
	error("never: " .. (what or "the condition"), 2)
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
