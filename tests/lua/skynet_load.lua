--- Many services that call each other, fork, set timers, exit and are killed: every call gets an answer or an error.
local skynet = require "skynet"
require "skynet.manager"
local test = require "test"

local eq, at = test.eq, test.at

local SERVICES <const> = 40
local TASKS <const> = 25
local CALLS <const> = 40

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

--- A service that answers in one of many ways, and calls others on the way.
local function worker()
	local others, handled = {}, 0
	local commands = {}

	local function any()
		return others[math.random(#others)]
	end

	function commands.others(list)
		others = list
		skynet.ret()
	end

	function commands.handled()
		skynet.retpack(handled)
	end

	function commands.echo(...)
		skynet.retpack(...)
	end

	function commands.fork(...)
		local answer = skynet.response()
		skynet.fork(answer, true, ...)
	end

	function commands.timeout(...)
		local answer, values = skynet.response(), table.pack(...)
		skynet.timeout(math.random(0, 2), function()
			answer(true, table.unpack(values, 1, values.n))
		end)
	end

	function commands.sleep(...)
		skynet.sleep(math.random(0, 2))
		skynet.retpack(...)
	end

	function commands.wait(...)
		local token = {}
		skynet.fork(function()
			skynet.yield()
			skynet.wakeup(token)
		end)
		skynet.wait(token)
		skynet.retpack(...)
	end

	function commands.call(...)
		local ok, value = pcall(skynet.call, any(), "lua", "sleep", ...)
		skynet.retpack(ok and value or ...)
	end

	function commands.select(...)
		local request = skynet.request()
		for _ = 1, 4 do
			request { any(), "lua", "echo", ... }
		end
		local seen = 0
		for _, answer in request:select() do
			seen = seen + 1
			assert(not answer or answer[1] == ...)
		end
		assert(seen == 4)
		skynet.retpack(...)
	end

	function commands.fail()
		skynet.yield()
		error "on purpose"
	end

	function commands.exit()
		skynet.exit()
	end

	skynet.start(function()
		skynet.dispatch("lua", function(_, _, cmd, ...)
			handled = handled + 1
			commands[cmd](...)
		end)
	end)
end

local KINDS <const> = { "echo", "fork", "timeout", "sleep", "wait", "call", "select" }

local function launch()
	local launching, list = {}, {}
	local key = test.script(worker)
	for i = 1, SERVICES do
		launching[i] = test.async(skynet.newservice, "suite_script", key)
	end
	for i = 1, SERVICES do
		list[i] = launching[i]()
	end
	for i = 1, SERVICES do
		skynet.call(list[i], "lua", "others", list)
	end
	return list
end

local function all_end(list)
	for _, handle in ipairs(list) do
		skynet.kill(handle)
	end
end

case("every answer is the right one", function()
	local list = launch()
	local tasks = {}
	for i = 1, TASKS do
		tasks[i] = test.async(function()
			for n = 1, CALLS do
				local id = i * 1000 + n
				eq(skynet.call(list[(id * 7) % SERVICES + 1], "lua", KINDS[id % #KINDS + 1], id), id)
			end
		end)
	end
	for i = 1, TASKS do
		tasks[i]()
	end
	eq(skynet.task(), 0)
	for _, handle in ipairs(list) do
		eq(skynet.call(handle, "debug", "STAT").task, 0)
	end
	all_end(list)
end)

case("failures reach their callers and nobody else", function()
	local list = launch()
	local tasks = {}
	for i = 1, TASKS do
		tasks[i] = test.async(function()
			for n = 1, CALLS do
				local id = i * 1000 + n
				local handle = list[(id * 11) % SERVICES + 1]
				if n % 4 == 0 then
					local ok, err = pcall(skynet.call, handle, "lua", "fail")
					eq(ok, false)
					test.has(err, "call failed")
					test.cause(err, "on purpose")
				else
					eq(skynet.call(handle, "lua", KINDS[id % #KINDS + 1], id), id)
				end
			end
		end)
	end
	for i = 1, TASKS do
		tasks[i]()
	end
	eq(skynet.task(), 0)
	all_end(list)
end)

case("services that exit while others call them", function()
	local list = launch()
	local tasks, answers, errors = {}, 0, 0
	for i = 1, TASKS do
		tasks[i] = test.async(function()
			for n = 1, CALLS do
				local id = i * 1000 + n
				local handle = list[(id * 13) % SERVICES + 1]
				local ok, value = pcall(skynet.call, handle, "lua", KINDS[id % #KINDS + 1], id)
				if ok then
					eq(value, id)
					answers = answers + 1
				else
					test.has(value, "call ")
					errors = errors + 1
				end
			end
		end)
	end
	for i = 1, SERVICES - 5 do
		skynet.fork(function()
			skynet.sleep(i % 7)
			pcall(skynet.call, list[i], "lua", "exit")
		end)
	end
	for i = 1, TASKS do
		tasks[i]()
	end
	eq(answers + errors, TASKS * CALLS)
	assert(errors > 0, "some were dead")
	assert(answers > 0, "some lived")
	test.eventually(function() return skynet.task() == 0 end)
	all_end(list)
end)

case("services that are killed while others call them", function()
	local list = launch()
	-- The handler finishes in one message, so a call is either unread (an error) or answered.
	local tasks, ended, errors = {}, 0, 0
	for i = 1, TASKS do
		tasks[i] = test.async(function()
			for n = 1, CALLS do
				local id = i * 1000 + n
				local handle = list[(id * 17) % SERVICES + 1]
				local ok, value = pcall(skynet.call, handle, "lua", id % 2 == 0 and "echo" or "fork", id)
				if ok then
					eq(value, id)
				else
					test.has(value, "call ")
					errors = errors + 1
				end
				ended = ended + 1
				if n % 10 == 0 then
					skynet.yield()
				end
			end
		end)
	end
	for i = 1, SERVICES - 5 do
		skynet.yield()
		skynet.yield()
		skynet.kill(list[i])
	end
	for i = 1, TASKS do
		tasks[i]()
	end
	assert(errors > 0, "some were dead")
	eq(ended, TASKS * CALLS)
	eq(skynet.task(), 0)
	for i = 1, SERVICES - 5 do
		eq(pcall(skynet.call, list[i], "lua", "echo"), false)
	end
	for i = SERVICES - 4, SERVICES do
		eq(skynet.call(list[i], "lua", "echo", i), i)
	end
	all_end(list)
end)

case("nothing that is sent is lost, and the order of each sender is kept", function()
	local sink = test.peer()
	at(sink, function()
		last, total, broken = {}, 0, 0
		skynet.dispatch("lua", function(_, source, n)
			if n then
				if n ~= (last[source] or 0) + 1 then
					broken = broken + 1
				end
				last[source] = n
				total = total + 1
			else
				skynet.retpack(total, broken)
			end
		end)
		skynet.ret()
	end)
	local senders = {}
	for i = 1, 20 do
		senders[i] = test.peer()
	end
	local running = {}
	for i, sender in ipairs(senders) do
		running[i] = test.async(at, sender, function(sink)
			for n = 1, 2000 do
				skynet.send(sink, "lua", n)
				if n % 100 == 0 then
					skynet.yield()
				end
			end
			skynet.ret()
		end, sink)
	end
	for i = 1, #senders do
		running[i]()
	end
	eq({ skynet.call(sink, "lua") }, { 20 * 2000, 0 })
	skynet.kill(sink)
	all_end(senders)
end)

-- Without cancellable timers, those are not cancelled.
local function timer(cs, f)
	if test.native then
		return skynet.timer(cs, f)
	end
	skynet.timeout(cs, f)
	return { cancel = function() return false end }
end

case("thousands of timers, cancelled, killed and fired", function()
	local fired, cancelled, killed = 0, 0, 0
	local N <const> = 3000
	for i = 1, N do
		local function f()
			fired = fired + 1
		end
		if i % 3 == 0 then
			local made = timer(i % 20 + 1, f)
			skynet.timeout(i % 25, function()
				if made:cancel() then
					cancelled = cancelled + 1
				end
			end)
		elseif i % 3 == 1 then
			local co = skynet.timeout(i % 20 + 1, f)
			if i % 2 == 0 and skynet.killthread(co) then
				killed = killed + 1
			end
		else
			skynet.timeout(i % 20 + 1, f)
		end
	end
	test.eventually(function() return skynet.task() == 0 end)
	eq(fired + cancelled + killed, N)
	assert((cancelled > 0) == test.native and killed == N // 6)
end)

case("services come and go", function()
	local tasks = {}
	for i = 1, 10 do
		tasks[i] = test.async(function()
			for _ = 1, 20 do
				local peer = test.peer()
				eq(at(peer, function(i) skynet.retpack(i) end, i), i)
				if i % 2 == 0 then
					skynet.kill(peer)
				else
					eq(pcall(skynet.call, peer, "debug", "EXIT"), false)
				end
				eq(pcall(skynet.call, peer, "debug", "PING"), false)
			end
		end)
	end
	for i = 1, 10 do
		tasks[i]()
	end
	local left = 0
	for _, text in pairs(skynet.call(".launcher", "lua", "LIST")) do
		if text == "snlua suite_peer" then
			left = left + 1
		end
	end
	eq(left, 0)
end)

test.run(cases)
