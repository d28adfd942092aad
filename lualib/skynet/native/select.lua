-- skynet.request: many requests at once, answers as they come. The native side
-- calls on_answer in a coroutine of its own for each of them.
local skynet, native = ...

local owner = {} -- session -> request object

-- Fields of an object: its requests 1.., and once selected: sessions (session
-- -> request), answers (a queue of request, answer), first and last of it,
-- dead (requests that could not be sent), open (how many are awaited), over
-- (the time has passed; set without memory, unlike the public `timeout`).
local request = {}
request.__index = request

-- Needs no memory: `answers` has the room.
local function finish(self, session, answer)
	local req = self.sessions[session]
	owner[session], self.sessions[session] = nil, nil
	self.open = self.open - 1
	local last = self.last
	self.answers[last + 1], self.answers[last + 2] = req, answer
	self.last = last + 2
	if self.waiting then
		native.wakeup(self)
	end
end

local function read(self, session, msg, sz)
	local p = skynet._proto[self.sessions[session][2]]
	return table.pack(p.unpack(msg, sz))
end

native.on_answer(function(session, ok, msg, sz)
	local self = owner[session]
	if not self then
		return
	end
	if not ok then
		finish(self, session, false)
		return
	end
	local good, answer = pcall(read, self, session, msg, sz)
	finish(self, session, good and answer)
	if not good then
		error(answer, 0)
	end
end)

---@param req table { address, protocol, arguments..., n = index of the last one }
function request:add(req)
	assert(type(req) == "table" and not self.sessions)
	self[#self + 1] = req
	return self
end

request.__call = request.add

-- Drops what is still to come.
function request:close()
	for session in pairs(self.sessions or {}) do
		owner[session] = nil
		native.swallow(session)
	end
	if self.timer then
		native.swallow(self.timer)
		self.timer = false
	end
	self.sessions, self.open = {}, 0
	if self.over then
		self.timeout = true
	end
end

request.__close = request.close

-- Makes room for what `finish` will put there.
local function reserve(self)
	local answers = self.answers
	for i = 1, 2 * #self do
		answers[i] = false
	end
end

local function send(self, timeout)
	reserve(self)
	for _, req in ipairs(self) do
		local session = native.session()
		owner[session], self.sessions[session] = self, req
		if native.ask(session, table.unpack(req, 1, req.n or #req)) then
			self.open = self.open + 1
		else
			owner[session], self.sessions[session] = nil, nil
			self.dead[#self.dead + 1] = req
		end
	end
	if timeout and self.open > 0 then
		self.timer = native.alarm(timeout, self)
	end
end

local function next_answer(self)
	local first = self.first
	local req, answer = self.answers[first], self.answers[first + 1]
	self.answers[first], self.answers[first + 1] = false, false
	self.first = first + 2
	return req, answer
end

-- One step of the loop over the answers.
local function step(self)
	local req = table.remove(self.dead)
	if req then
		return req
	end
	while self.first > self.last do
		if self.over then
			self.timeout = true
		end
		if self.open == 0 or self.timeout then
			return
		end
		self.waiting = true
		skynet.wait(self)
		self.waiting = false
	end
	return next_answer(self)
end

---@param timeout? integer centiseconds
function request:select(timeout)
	assert(self.sessions == nil)
	for _, req in ipairs(self) do
		local p = skynet._proto[req[2]]
		assert(p.unpack)
	end
	self.sessions, self.answers, self.dead, self.open = {}, {}, {}, 0
	self.first, self.last = 1, 0
	self.waiting, self.over, self.timer = false, false, false
	local function iterate()
		return step(self)
	end
	local ok, err = pcall(send, self, timeout)
	if not ok then
		self:close()
		error(err, 0)
	end
	return iterate, nil, nil, self
end

local M = {}

function M.request(req)
	local self = setmetatable({}, request)
	if req ~= nil then
		self:add(req)
	end
	return self
end

return M
