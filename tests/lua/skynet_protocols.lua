--- Module skynet: protocols, what nobody dispatches, and traces.
local skynet = require "skynet"
local test = require "test"

local eq, raises, has, at = test.eq, test.raises, test.has, test.at

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

case("register_protocol", function()
	eq(select("#", skynet.register_protocol { name = "mine", id = 120, pack = skynet.pack, unpack = skynet.unpack }), 0)
	for _, class in ipairs {
		{ name = "mine", id = 121 }, { name = "lua", id = 121 }, { name = "other", id = 120 }, { name = "other", id = 10 },
		{ name = "other", id = 256 }, { name = "other", id = -1 }, { name = "other", id = "5" }, { name = "other" },
		{ id = 121 }, { name = 5, id = 121 },
	} do
		raises("assertion failed!", skynet.register_protocol, class)
	end
	eq(pcall(skynet.register_protocol), false)
	eq(skynet._proto.mine, skynet._proto[120])
	skynet.register_protocol { name = "other", id = 255 }
	eq(skynet._proto[255].name, "other")
end)

case("dispatch", function()
	eq(skynet.dispatch "no such protocol", nil)
	raises("attempt to index a nil value", skynet.dispatch, "no such protocol", print)
	eq(skynet.dispatch "mine", nil)
	local f, g = function() end, function() end
	eq(skynet.dispatch("mine", f), nil)
	eq(skynet.dispatch "mine", f)
	eq(skynet.dispatch("mine", g), f)
	skynet._proto.mine.dispatch = nil
	eq(skynet.dispatch "mine", nil)
end)

--- A protocol that the peers do not know, and one without a dispatch function.
local function setup(peer)
	at(peer, function()
		skynet.register_protocol { name = "quiet", id = 130, unpack = skynet.tostring }
		skynet.ret()
	end)
end

case("requests that nobody dispatches", function()
	local peer = test.peer()
	setup(peer)
	skynet.register_protocol { name = "quiet", id = 130, pack = function(...) return ... end, unpack = skynet.tostring }
	skynet.register_protocol { name = "unknown", id = 131, pack = function(...) return ... end, unpack = skynet.tostring }
	raises("call failed", skynet.call, peer, "quiet", "x")
	raises("call failed", skynet.call, peer, "unknown", "x")
	local from = test.log_end()
	eq(skynet.send(peer, "quiet", "payload one"), 0)
	local log = test.logged("Unknown session : 0 from " .. string.format("%x", skynet.self()), from)
	has(log, "Unknown request (quiet): payload one")
	from = test.log_end()
	eq(skynet.send(peer, "unknown", "payload two"), 0)
	log = test.logged("Unknown session : 0 from ", from)
	has(log, "Unknown request (131): payload two")
	from = test.log_end()
	skynet.redirect(peer, skynet.self(), "response", 777, "stray")
	log = test.logged(string.format("Unknown session : 777 from %x", skynet.self()), from)
	has(log, "Response message : stray")
	skynet.send(peer, "debug", "EXIT")
end)

case("dispatch_unknown_request and dispatch_unknown_response", function()
	local peer = test.peer()
	setup(peer)
	local first, second = at(peer, function()
		unknown = {}
		local old = skynet.dispatch_unknown_request(function(session, source, msg, sz, proto)
			unknown[#unknown + 1] = { session, source, skynet.tostring(msg, sz), proto }
		end)
		local other = skynet.dispatch_unknown_response(function(session, source, msg, sz)
			unknown[#unknown + 1] = { session, source, skynet.tostring(msg, sz) }
		end)
		skynet.retpack(type(old), type(other))
	end)
	eq({ first, second }, { "function", "function" })
	skynet.send(peer, "quiet", "one")
	skynet.send(peer, "unknown", "two")
	skynet.redirect(peer, skynet.self(), "response", 778, "three")
	raises("call failed", skynet.call, peer, "unknown", "a call is not for the handler")
	local me = skynet.self()
	eq(at(peer, function() skynet.retpack(unknown) end), {
		{ 0, me, "one", "quiet" }, { 0, me, "two", 131 }, { 778, me, "three" },
	})
	-- The handler that was set is what the next one gets.
	eq(at(peer, function()
		local f = function() end
		skynet.dispatch_unknown_request(f)
		skynet.retpack(skynet.dispatch_unknown_request(print) == f)
	end), true)
	skynet.send(peer, "debug", "EXIT")
end)

case("dispatch_message is what the callback calls", function()
	local peer = test.peer()
	local ok = at(peer, function()
		local core = require "skynet.core"
		local dispatch, seen = skynet.dispatch_message, 0
		core.callback(function(...)
			seen = seen + 1
			return dispatch(...)
		end)
		function counted() return seen end
		skynet.ret()
	end)
	eq(ok, nil)
	eq(at(peer, function() skynet.retpack(counted()) end), 1)
	eq(at(peer, function() skynet.retpack(counted()) end), 2)
	skynet.send(peer, "debug", "EXIT")
end)

case("fields of a protocol may be changed later", function()
	local peer = test.peer()
	at(peer, function()
		skynet.register_protocol {
			name = "changing", id = 140, pack = skynet.pack, unpack = skynet.tostring,
			dispatch = function(_, _, ...) skynet.retpack("first", ...) end,
		}
		skynet.ret()
	end)
	skynet.register_protocol { name = "changing", id = 140, pack = function(s) return s end, unpack = skynet.unpack }
	eq({ skynet.call(peer, "changing", "x") }, { "first", "x" })
	at(peer, function()
		skynet._proto.changing.unpack = function(msg, sz) return sz, nil, skynet.tostring(msg, sz) end
		skynet.dispatch("changing", function(_, _, ...) skynet.retpack("second", ...) end)
		skynet.ret()
	end)
	eq({ skynet.call(peer, "changing", "xy") }, { "second", 2, nil, "xy" })
	local pack = skynet._proto.changing.pack
	skynet._proto.changing.pack = function(s) return s .. s end
	eq({ skynet.call(peer, "changing", "xy") }, { "second", 4, nil, "xyxy" })
	skynet._proto.changing.pack = function() error "cannot pack" end
	raises("cannot pack", skynet.call, peer, "changing")
	skynet._proto.changing.pack = pack
	skynet._proto.changing.unpack = function() error "cannot unpack" end
	raises("cannot unpack", skynet.call, peer, "changing", "x")
	eq(skynet.task(), 0)
	skynet.send(peer, "debug", "EXIT")
end)

--- The trace lines of a tag: the words after the time.
local function lines(log, tag)
	local list = {}
	for line in string.gmatch(log, "<TRACE " .. tag .. "> %d+ ([^\n]*)") do
		list[#list + 1] = string.match(line, "^(.-) : @") or line
	end
	return list
end

case("trace follows a request to its callee", function()
	local peer = test.peer()
	eq(skynet.tracetag(), nil)
	local from = test.log_end()
	local tag
	local done = test.async(function()
		skynet.trace "hello"
		tag = skynet.tracetag()
		assert(string.match(tag, "^" .. skynet.address(skynet.self()) .. "%-%d+$"), tag)
		eq(at(peer, function() skynet.retpack(skynet.tracetag()) end), tag)
		skynet.yield()
	end)
	done()
	skynet.error "end of the trace"
	local log = test.logged("end of the trace", from)
	local mine = "%[" .. skynet.address(skynet.self()) .. "%] "
	has(log, "TRACE nil")
	assert(string.find(log, mine .. "<TRACE " .. string.gsub(tag, "%-", "%%-") .. "> %d+ trace hello"))
	local list = lines(log, (string.gsub(tag, "%-", "%%-")))
	table.sort(list)
	eq(list, { "call", "end", "end", "request", "response", "resume", "resume", "sleep", "trace hello" })
	skynet.send(peer, "debug", "EXIT")
end)

case("send and fork do not pass a tag on; an error is traced", function()
	local peer = test.peer()
	local from = test.log_end()
	test.async(function()
		skynet.trace()
		test.post(peer, function() sent = skynet.tracetag() or "none" end)
		local forked
		skynet.fork(function() forked = skynet.tracetag() or "none" end)
		skynet.yield()
		eq(forked, "none")
		eq(pcall(at, peer, function() error "traced" end), false)
		eq(at(peer, function() skynet.retpack(sent) end), "none")
	end)()
	assert(string.find(test.logged("traced", from), "<TRACE [^>]*> %d+ error"))
	skynet.send(peer, "debug", "EXIT")
end)

case("traceproto", function()
	local peer = test.peer()
	raises("assertion failed!", skynet.traceproto, "no such protocol", true)
	local function tag()
		skynet.retpack(skynet.tracetag())
	end
	eq(at(peer, tag), nil)
	at(peer, function() skynet.traceproto("lua", true) skynet.ret() end)
	assert(string.match(at(peer, tag), "^" .. skynet.address(peer) .. "%-%d+$"))
	at(peer, function() skynet.traceproto("lua", false) skynet.ret() end)
	test.async(function()
		skynet.trace()
		eq(at(peer, tag), false)
		-- In such a request, trace only says so.
		local from = test.log_end()
		at(peer, function() skynet.trace() skynet.ret() end)
		test.logged("TRACE false", from)
	end)()
	at(peer, function() skynet.traceproto("lua", nil) skynet.ret() end)
	eq(at(peer, tag), nil)
	skynet.send(peer, "debug", "EXIT")
end)

test.run(cases)
