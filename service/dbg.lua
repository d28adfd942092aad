-- `start = "dbg list"`: sends a command to the launcher, prints the answer, ends.
local skynet = require "skynet"

local request = table.pack(...)

local function sorted(t, format)
	local keys, lines = {}, {}
	for k in pairs(t) do
		keys[#keys + 1] = k
	end
	table.sort(keys, function(a, b)
		return tostring(a) < tostring(b)
	end)
	for i, k in ipairs(keys) do
		lines[i] = format(tostring(k), t[k])
	end
	return lines
end

local function field(k, v)
	return k .. ":" .. tostring(v)
end

local function entry(k, v)
	if type(v) == "table" then
		v = table.concat(sorted(v, field), "\t")
	end
	return k .. "\t" .. tostring(v)
end

skynet.start(function()
	local answer = skynet.call(".launcher", "lua", table.unpack(request, 1, request.n))
	if type(answer) == "table" then
		for _, line in ipairs(sorted(answer, entry)) do
			print(line)
		end
	else
		print(tostring(answer))
	end
	skynet.exit()
end)
