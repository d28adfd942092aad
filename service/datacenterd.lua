-- The tree of values behind skynet.datacenter.
local skynet = require "skynet"

local root = {}

-- Who waits for which path: a node is either { waiting = responses } or
-- { branches = key -> node }.
local waits = { branches = {} }

local command = {}

local function lookup(value, path, n)
	for i = 1, n do
		if value == nil or type(value) == "string" then
			return nil
		end
		value = value[path[i]]
	end
	return value
end

-- Sets path[n] in the table of the path before it. The old value.
local function assign(path, n, value)
	local t = root
	for i = 1, n - 1 do
		local key = path[i]
		local branch = t[key]
		if branch == nil then
			branch = {}
			t[key] = branch
		end
		t = branch
	end
	local old = t[path[n]]
	t[path[n]] = value
	return old
end

local function answer(responses, ...)
	for _, response in ipairs(responses) do
		response(...)
	end
end

-- Forgets a node and the branches above it that lead nowhere else.
local function prune(nodes, path, n)
	for i = n, 1, -1 do
		nodes[i].branches[path[i]] = nil
		if next(nodes[i].branches) ~= nil then
			return
		end
	end
end

-- A value has come to a path. Who waits for a table above it waits in vain.
local function wake(path, n, value)
	local node, nodes = waits, {}
	for i = 1, n do
		nodes[i] = node
		node = node.branches[path[i]]
		if not node then
			return
		elseif node.waiting then
			prune(nodes, path, i)
			if i == n then
				answer(node.waiting, true, value)
			else
				answer(node.waiting, false, "a value was set below the path that is waited for")
			end
			return
		end
	end
end

function command.QUERY(...)
	local path = table.pack(...)
	if path.n == 0 then
		return
	end
	return lookup(root, path, path.n)
end

function command.UPDATE(...)
	local path = table.pack(...)
	local n, value = path.n - 1, path[path.n]
	if n == 0 then -- a key without a value
		n, value = 1, nil
	end
	local old = assign(path, n, value)
	if old == nil and value ~= nil then
		wake(path, n, value)
	end
	return old
end

function command.WAIT(...)
	local path = table.pack(...)
	assert(path.n > 0, "no path to wait for")
	local value = lookup(root, path, path.n)
	if value ~= nil then
		return value
	end
	local node = waits
	for i = 1, path.n do
		assert(node.branches, "a part of the path is waited for")
		local key = path[i]
		local child = node.branches[key]
		if not child then
			child = i == path.n and { waiting = {} } or { branches = {} }
			node.branches[key] = child
		end
		node = child
	end
	assert(node.waiting, "a path below is waited for")
	table.insert(node.waiting, skynet.response())
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		local f = command[cmd]
		if f == command.WAIT then
			local value = f(...)
			if value ~= nil then
				skynet.retpack(value)
			end
		else
			skynet.retpack(f(...))
		end
	end)
end)
