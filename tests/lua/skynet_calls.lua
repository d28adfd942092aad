--- Module skynet: sending, requesting and answering.
local skynet = require "skynet"
require "skynet.manager"
local test = require "test"

local eq, raises, has, at, eventually = test.eq, test.raises, test.has, test.at, test.eventually

local DEAD <const> = 0xfff0

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

--- What `skynet.call` raises: one position, then exactly this text, then a cause that has `cause`.
local function call_failed(cause, ok, err)
	eq(ok, false)
	eq(string.match(err, "^[^\n:]*:%d+: ([^\n]*)"), "call failed")
	test.cause(err, cause)
end

local function leave(...)
	for _, peer in ipairs { ... } do
		skynet.send(peer, "debug", "EXIT")
	end
end

case("call by every form of address", function()
	local peer = test.peer()
	local function answer(...)
		skynet.retpack(...)
	end
	skynet.name(".calls_peer", peer)
	for _, address in ipairs { peer, tostring(peer), string.format(":%x", peer), skynet.address(peer), ".calls_peer" } do
		eq(at(address, answer, "x", 1), "x")
	end
	eq(table.pack(at(peer, answer, nil, 1, nil)), { n = 3, [2] = 1 })
	leave(peer)
end)

case("call that fails at once", function()
	raises("call to invalid address " .. skynet.address(DEAD), skynet.call, DEAD, "lua")
	raises("call to invalid address .nobody", skynet.call, ".nobody", "lua")
	raises("Invalid service address 0", skynet.call, 0, "lua")
	raises("dest address type (table) must be a string or number.", skynet.call, {}, "lua")
	raises("dest address type (nil) must be a string or number.", skynet.call, nil, "lua")
	raises("attempt to index a nil value", skynet.call, skynet.self(), "no such protocol")
	raises("Unsupport type function to serialize", skynet.call, skynet.self(), "lua", print)
	raises("call to invalid address", skynet.rawcall, DEAD, "lua", "")
	eq(skynet.task(), 0)
end)

case("call that the callee fails", function()
	local peer = test.peer()
	local name = skynet.address(peer)
	call_failed("boom", pcall(at, peer, function() error "boom" end))
	call_failed(name, pcall(at, peer, function() error {} end))
	call_failed(name, pcall(at, peer, function() skynet.sleep(1) error "late" end))
	call_failed(name, pcall(at, peer, function() skynet.call(0xfff0, "lua") end))
	call_failed("suite_peer", pcall(skynet.call, peer, "lua", "", "no chunk"))
	call_failed(name, pcall(at, peer, function() skynet.exit() end))
	raises("call to invalid address", at, peer, function() end)
	eq(skynet.task(), 0)
end)

case("requests that a killed service has not read fail, the others are answered", function()
	for _ = 1, 20 do
		local peer = test.peer()
		-- All in one message: with one worker the peer reads none of them.
		local calls = {}
		for i = 1, 10 do
			calls[i] = test.async(pcall, at, peer, function(i) skynet.retpack(i) end, i)
		end
		skynet.fork(skynet.kill, peer)
		local failed = false
		for i = 1, 10 do
			local ok, result = calls[i]()
			assert(ok ~= failed or not ok, "answered in order until it was killed")
			failed = not ok
			if ok then
				eq(result, i)
			else
				call_failed("", ok, result)
			end
		end
	end
end)

case("send", function()
	local peer = test.peer()
	eq(test.post(peer, function() end), 0)
	eq(select("#", skynet.send(DEAD, "lua", 1)), 0)
	eq(select("#", skynet.send(".nobody", "lua", 1)), 0)
	eq(skynet.send("NOBODY", "lua", 1), 0)
	eq(skynet.send(0x05000001, "lua", 1), 0)
	raises("Invalid service address 0", skynet.send, 0, "lua")
	raises("dest address type (boolean) must be a string or number.", skynet.send, true, "lua")
	raises("attempt to index a nil value", skynet.send, peer, "nothing")
	raises("Unsupport type thread to serialize", skynet.send, peer, "lua", coroutine.running())
	local deep = {}
	for _ = 1, 100 do
		deep = { deep }
	end
	raises("serialize can't pack too depth table", skynet.send, peer, "lua", deep)
	local from = test.log_end()
	eq(select("#", skynet.send(":0", "lua", 1)), 0)
	test.logged("error: Destination address can't be 0", from)
	leave(peer)
end)

case("the callee sees a session for a call and 0 for a send", function()
	local peer = test.peer()
	local session, source = at(peer, function()
		skynet.retpack(skynet.context())
	end)
	assert(session > 0)
	eq(source, skynet.self())
	test.post(peer, function()
		seen = table.pack(skynet.context())
	end)
	eq(at(peer, function() skynet.retpack(seen) end), { 0, skynet.self(), n = 2 })
	leave(peer)
end)

case("messages of one sender arrive in order", function()
	local peer = test.peer()
	for i = 1, 100 do
		test.post(peer, function(i)
			list = list or {}
			list[#list + 1] = i
		end, i)
	end
	local list = at(peer, function() skynet.retpack(list) end)
	eq(#list, 100)
	for i = 1, 100 do
		eq(list[i], i)
	end
	leave(peer)
end)

case("rawsend, rawcall", function()
	local peer = test.peer()
	at(peer, function()
		skynet.register_protocol { name = "raw", id = 100, unpack = skynet.tostring }
		skynet.dispatch("raw", function(session, _, text)
			last = text
			if session ~= 0 then
				skynet.ret(text .. text)
			end
		end)
		skynet.ret()
	end)
	skynet.register_protocol { name = "raw", id = 100 }
	eq(skynet.rawsend(peer, "raw", "string"), 0)
	eq(at(peer, function() skynet.retpack(last) end), "string")
	local msg, sz = skynet.pack("a", 1)
	local text = skynet.tostring(msg, sz)
	eq(skynet.rawsend(peer, "raw", msg, sz), 0)
	eq(at(peer, function() skynet.retpack(last) end), text)
	eq(skynet.tostring(skynet.rawcall(peer, "raw", "xy")), "xyxy")
	local answer, size = skynet.rawcall(peer, "raw", "")
	eq(size, 0)
	eq(select("#", skynet.unpack(answer, size)), 0)
	raises("invalid param nil", skynet.rawsend, peer, "raw", nil)
	raises("invalid param table", skynet.rawsend, peer, "raw", {})
	raises("invalid param number", skynet.rawcall, peer, "raw", 12)
	eq(select("#", skynet.rawsend(DEAD, "raw", skynet.pack(1))), 0)
	leave(peer)
end)

case("redirect: a forged source, and an answer on behalf of another", function()
	local peer = test.peer()
	-- A request as test.post makes it, with another source.
	local code = string.dump(load "seen = table.pack(require 'skynet'.context())")
	local launcher = skynet.localname ".launcher"
	eq(skynet.redirect(peer, launcher, "lua", 0, skynet.packstring("_ENV", code)), 0)
	eq(at(peer, function() skynet.retpack(seen) end), { 0, launcher, n = 2 })
	-- Source 0 is the sender; session nil allocates one.
	local session = skynet.redirect(peer, 0, "lua", nil, skynet.packstring("_ENV", code))
	assert(session > 0)
	eq(at(peer, function() skynet.retpack(seen) end), { session, skynet.self(), n = 2 })
	eq(select("#", skynet.redirect(DEAD, 0, "lua", 0, "")), 0)
	raises("Invalid service address 0", skynet.redirect, 0, 0, "lua", 0, "")
	-- An answer in the name of the peer (trap 29).
	local other = test.peer()
	at(peer, function(other)
		target = other
		skynet.ret()
	end, other)
	local answer = at(peer, function()
		local session, source = skynet.context()
		skynet.ignoreret()
		test.post(target, function(asker, session, source)
			skynet.redirect(source, asker, "response", session, skynet.packstring("on behalf of", asker))
		end, skynet.self(), session, source)
	end)
	eq(answer, "on behalf of")
	call_failed("", pcall(at, peer, function()
		local session, source = skynet.context()
		skynet.ignoreret()
		skynet.redirect(source, skynet.self(), "error", session, "")
	end))
	leave(peer, other)
end)

case("ret", function()
	local peer = test.peer()
	eq(select("#", at(peer, function() skynet.ret() end)), 0)
	eq(select("#", at(peer, function() skynet.ret(nil) end)), 0)
	eq(select("#", at(peer, function() skynet.retpack() end)), 0)
	eq(at(peer, function() skynet.ret(skynet.pack "packed") end), "packed")
	eq(at(peer, function() skynet.ret(skynet.packstring "string") end), "string")
	eq(table.pack(at(peer, function() skynet.retpack(nil, nil) end)), { n = 2 })
	-- What it returns, and the second one.
	at(peer, function()
		results = {
			table.pack(skynet.retpack "first"),
			table.pack(pcall(skynet.retpack, "second")),
			table.pack(pcall(skynet.response)),
		}
	end)
	local result, second, third = table.unpack(at(peer, function() skynet.retpack(results) end))
	eq(result, { true, n = 1 })
	eq(second[1], false)
	has(second[2], "No session")
	eq(third[1], false)
	has(third[2], "no session")
	-- For a send it gives false and uses the request up (trap 19).
	test.post(peer, function()
		sent = table.pack(skynet.retpack "nobody")
		again = table.pack(pcall(skynet.ret))
	end)
	result, second = at(peer, function() skynet.retpack(sent, again) end)
	eq(result, { false, n = 1 })
	has(second[2], "No session")
	raises("No session", skynet.ret)
	leave(peer)
end)

case("ret in another coroutine of the framework, and in a nested one", function()
	local peer = test.peer()
	eq(at(peer, function()
		skynet.fork(function()
			from_fork = select(2, pcall(skynet.retpack, "fork"))
		end)
		skynet.yield()
		skynet.retpack "request"
	end), "request")
	has(at(peer, function() skynet.retpack(from_fork) end), "No session")
	eq(at(peer, function()
		local co = require "skynet.coroutine"
		co.wrap(function() skynet.retpack "nested" end)()
	end), "nested")
	leave(peer)
end)

case("an error after the answer is only logged (trap 16)", function()
	local peer = test.peer()
	local from = test.log_end()
	eq(at(peer, function()
		skynet.retpack "answered"
		error "after the answer"
	end), "answered")
	test.logged("after the answer", from)
	leave(peer)
end)

case("what dispatch returns is ignored, a forgotten answer is logged (traps 17, 18)", function()
	local peer = test.peer()
	local from = test.log_end()
	local waiting = test.async(pcall, at, peer, function() return "nothing" end)
	local log = test.logged("Maybe forgot response session ", from)
	assert(string.find(log, "Maybe forgot response session %d+ from " .. skynet.address(skynet.self())
		.. " : @[^\n]*suite_peer%.lua:%d+"))
	-- The caller is released by the end of the callee at the latest.
	skynet.term(peer)
	call_failed("", waiting())
	leave(peer)
end)

case("response", function()
	local peer = test.peer()
	at(peer, function()
		kept = {}
		skynet.ret()
	end)
	local function keep(packer)
		return test.async(pcall, at, peer, function(packer)
			kept[#kept + 1] = skynet.response(packer and skynet.packstring)
		end, packer)
	end
	local function use(...)
		return at(peer, function(i, ...)
			skynet.retpack(pcall(kept[i], ...))
		end, ...)
	end
	local first, second, third = keep(), keep(true), keep()
	eventually(function() return at(peer, function() skynet.retpack(#kept) end) == 3 end)
	eq({ use(1, "TEST") }, { true, true })
	eq({ use(1, true, "a", nil) }, { true, true })
	eq(table.pack(first()), { true, "a", nil, n = 3 })
	eq({ use(1, "TEST") }, { true, false })
	local ok, err = use(1, true)
	eq(ok, false)
	has(err, "Can't response more than once")
	eq({ use(2, true, 7) }, { true, true })
	eq({ second() }, { true, 7 })
	eq({ use(3, false) }, { true, true })
	call_failed("", third())
	-- With a cause; and usable after the packer has failed.
	local fourth = keep()
	eventually(function() return at(peer, function() skynet.retpack(#kept) end) == 4 end)
	eq(at(peer, function()
		skynet.retpack(pcall(kept[4], true, print))
	end), false)
	eq({ use(4, false, "not today") }, { true, true })
	call_failed("not today", fourth())
	leave(peer)
end)

case("response of a send does nothing", function()
	local peer = test.peer()
	test.post(peer, function()
		local R = skynet.response()
		results = { type(R), select("#", R(true, 1)), select("#", R(true, 1)) }
	end)
	eq(at(peer, function() skynet.retpack(results) end), { "function", 0, 0 })
	leave(peer)
end)

case("response to a caller that has gone", function()
	local peer, caller = test.peer(), test.peer()
	local function ask(target)
		skynet.fork(test.at, target, function() R = skynet.response() end)
		skynet.yield()
		skynet.ret()
	end
	at(caller, ask, peer)
	eventually(function() return at(peer, function() skynet.retpack(R ~= nil) end) end)
	eq(at(peer, function() skynet.retpack(R "TEST") end), true)
	pcall(skynet.call, caller, "debug", "EXIT")
	-- It said that it is dead.
	eventually(function() return at(peer, function() skynet.retpack(not R "TEST") end) end)
	eq({ at(peer, function() skynet.retpack(R(true, 1)) end) }, { false })
	-- One that is killed does not.
	caller = test.peer()
	at(peer, function() R = nil skynet.ret() end)
	at(caller, ask, peer)
	eventually(function() return at(peer, function() skynet.retpack(R ~= nil) end) end)
	skynet.kill(caller)
	eq({ at(peer, function() skynet.retpack(R "TEST", R(true, 1)) end) }, { true, false })
	leave(peer)
end)

case("ignoreret and context", function()
	local peer = test.peer()
	local waiting = test.async(pcall, at, peer, function()
		before = table.pack(skynet.context())
		skynet.ignoreret()
		after = table.pack(skynet.context())
		failed = select(2, pcall(skynet.retpack))
		skynet.redirect(before[2], skynet.self(), "response", before[1], skynet.packstring "by hand")
	end)
	eq({ waiting() }, { true, "by hand" })
	local before, after, failed = at(peer, function() skynet.retpack(before, after, failed) end)
	assert(before[1] > 0)
	eq(after[1], nil)
	eq(after[2], before[2])
	has(failed, "No session")
	local session, source = skynet.context()
	eq(session, nil)
	eq(source, nil)
	leave(peer)
end)

case("an encoding that is malformed is not answered but logged (trap 28)", function()
	local peer = test.peer()
	local from = test.log_end()
	skynet.rawsend(peer, "lua", "\255\255\255")
	test.logged("Invalid serialize stream", from)
	eq(at(peer, function() skynet.retpack "alive" end), "alive")
	leave(peer)
end)

case("term fails the calls to an address and nothing else", function()
	local a, b = test.peer(), test.peer()
	local function hang()
		R = skynet.response()
	end
	local to_a, also_a, to_b = test.async(pcall, at, a, hang), test.async(pcall, at, a, hang), test.async(pcall, at, b, hang)
	eventually(function() return at(b, function() skynet.retpack(R ~= nil) end) end)
	skynet.term(a)
	call_failed("", to_a())
	call_failed("", also_a())
	at(b, function() R(true, "still") skynet.ret() end)
	eq({ to_b() }, { true, "still" })
	-- By name: the value that was passed is compared (trap 25).
	skynet.name(".calls_term", b)
	local by_name = test.async(pcall, at, ".calls_term", hang)
	skynet.yield()
	skynet.term(b)
	skynet.yield()
	eq(skynet.task(), 1)
	skynet.term ".calls_term"
	call_failed("", by_name())
	-- A global name that nobody registers (trap 15).
	local global = test.async(pcall, skynet.call, "NOBODY2", "lua")
	skynet.yield()
	skynet.term "NOBODY2"
	call_failed("", global())
	leave(a, b)
end)

case("a late answer after term is an unknown session (trap 26)", function()
	local peer = test.peer()
	local waiting = test.async(pcall, at, peer, function() R = skynet.response() end)
	eventually(function() return at(peer, function() skynet.retpack(R ~= nil) end) end)
	skynet.term(peer)
	call_failed("", waiting())
	local from = test.log_end()
	at(peer, function() R(true) skynet.ret() end)
	test.logged("Unknown session : ", from)
	leave(peer)
end)

case("exit answers what is owed and open with errors, and tells its callees (trap 24)", function()
	local dying, callee = test.peer(), test.peer()
	local open = test.async(pcall, at, dying, function() R = skynet.response() end)
	local owed = test.async(pcall, at, dying, function() skynet.wait {} end)
	local calling = test.async(pcall, at, dying, function(callee)
		test.at(callee, function() R = skynet.response() end)
	end, callee)
	eventually(function() return at(callee, function() skynet.retpack(R ~= nil) end) end)
	eq(at(callee, function() skynet.retpack(R "TEST") end), true)
	call_failed("", pcall(skynet.call, dying, "debug", "EXIT"))
	call_failed("", open())
	call_failed("", owed())
	call_failed("", calling())
	eventually(function() return at(callee, function() skynet.retpack(not R "TEST") end) end)
	leave(callee)
end)

case("an unread answer of a dead requester harms no other call", function()
	-- The responder's own call with the same session number must not fail.
	local a, b = test.peer(), test.peer()
	for _ = 1, 10 do
		at(a, function(b)
			skynet.fork(pcall, test.at, b, function() skynet.retpack() end)
			skynet.ret()
		end, b)
		eq(at(b, function() skynet.retpack "fine" end), "fine")
	end
	leave(a, b)
end)

case("tracecall", function()
	local peer = test.peer()
	local from = test.log_end()
	at(peer, function()
		skynet.dispatch("lua", function() skynet.retpack(skynet.tracetag()) end)
		skynet.ret()
	end)
	local msg, sz = skynet.tracecall("the-tag", peer, "lua", skynet.packstring "x")
	eq(skynet.unpack(msg, sz), "the-tag")
	local log = test.logged("tracecall end", from)
	assert(string.find(log, "<TRACE the%-tag> %d+ tracecall begin"))
	assert(string.find(log, "<TRACE the%-tag> %d+ request"))
	raises("call to invalid address", skynet.tracecall, "t", DEAD, "lua", "")
	leave(peer)
end)

test.run(cases)
