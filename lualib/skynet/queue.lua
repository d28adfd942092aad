-- Critical sections: `cs = queue()`, then `cs(f, ...)` runs f while no other
-- coroutine runs inside the same cs. Whoever waits or holds it may be killed:
-- its place is given up as its to-be-closed variables run.
local skynet = require "skynet"

local running, status, traceback = coroutine.running, coroutine.status, debug.traceback

local section = {} -- { holder, depth, first, last, waiters at first..last }
local waiter = {} -- { section, thread, granted, entered, gone }

-- Give the section to the waiter that came first, if there is one.
local function pass(self)
	local entry
	repeat
		local first = self.first
		entry = self[first]
		if not entry then
			self.holder, self.first, self.last = nil, 1, 0
			return
		end
		self[first], self.first = nil, first + 1
	until not entry.gone
	self.holder, entry.granted = entry.thread, true
	skynet.wakeup(entry)
end

function section.__close(self)
	self.depth = self.depth - 1
	if self.depth == 0 then
		pass(self)
	end
end

function waiter.__close(self)
	if self.granted then
		if not self.entered then
			pass(self.section)
		end
	else
		self.gone = true
	end
end

local function wait_turn(self, co)
	local entry <close> = setmetatable({
		section = self, thread = co, granted = false, entered = false, gone = false,
	}, waiter)
	-- In this order: without memory for the place nobody looks for it.
	local last = self.last + 1
	self[last] = entry
	self.last = last
	repeat
		skynet.wait(entry)
	until entry.granted
	entry.entered = true
end

local function results(ok, ...)
	if not ok then
		error((...))
	end
	return ...
end

--- A new critical section. Waiters enter in order; its holder may enter again.
---@return fun(f: function, ...): ...
function skynet.queue()
	local self = setmetatable({ depth = 0, first = 1, last = 0 }, section)
	return function(f, ...)
		local co = running()
		if self.holder ~= co then
			if self.holder and status(self.holder) == "dead" then
				-- It had no memory even to let go: its place is free.
				self.depth = 0
				pass(self)
			end
			if self.holder then
				wait_turn(self, co)
			end
			self.holder = co
		end
		self.depth = self.depth + 1
		local guard <close> = self
		return results(xpcall(f, traceback, ...))
	end
end

return skynet.queue
