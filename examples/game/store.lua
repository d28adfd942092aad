--- Scores by name, kept in a text file: one `name score` a line. Changes are
--- written together after a while, and when the service ends.
local skynet = require "skynet"

local path = ...

local SAVE_TIME <const> = 200 -- centiseconds from a change to its writing

local save

-- The finalizer runs when the VM is closed: the node stops, or the service is killed.
local scores = setmetatable({}, { __gc = function() save() end })
local dirty = false

local function load()
	local file = io.open(path)
	if not file then
		return -- a new game
	end
	for line in file:lines() do
		local name, score = line:match "^([%w_]+) (%d+)$"
		if name then
			scores[name] = math.tointeger(score)
		end
	end
	file:close()
end

--- The old file stays whole until the new one is.
function save()
	if not dirty then
		return
	end
	dirty = false
	local new = path .. ".new"
	local file, reason = io.open(new, "w")
	if not file then
		skynet.error("Cannot save scores:", reason)
		return
	end
	for name, score in pairs(scores) do
		file:write(name, " ", score, "\n")
	end
	local ok
	ok, reason = file:close()
	if ok then
		ok, reason = os.rename(new, path)
	end
	if not ok then
		skynet.error("Cannot save scores:", reason)
	end
end

local commands = {}

function commands.get(name)
	return scores[name] or 0
end

function commands.set(name, score)
	scores[name] = score
	if not dirty then
		dirty = true
		skynet.timeout(SAVE_TIME, save)
	end
end

--- The best five.
function commands.top()
	local names = {}
	for name in pairs(scores) do
		names[#names + 1] = name
	end
	table.sort(names, function(a, b)
		return scores[a] > scores[b] or scores[a] == scores[b] and a < b
	end)
	local list = {}
	for i = 1, math.min(5, #names) do
		list[i] = names[i] .. " " .. scores[names[i]]
	end
	return #list > 0 and table.concat(list, ", ") or "nobody has a coin"
end

skynet.start(function()
	load()
	skynet.dispatch("lua", function(session, _, command, ...)
		local result = commands[command](...)
		if session ~= 0 then
			skynet.retpack(result)
		end
	end)
end)
