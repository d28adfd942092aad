--- skynet.manager, and the small modules: harbor, datacenter, mqueue.
local skynet = require "skynet"
local manager = require "skynet.manager"
local harbor = require "skynet.harbor"
local datacenter = require "skynet.datacenter"
local test = require "test"

local eq, raises, has, at, eventually = test.eq, test.raises, test.has, test.at, test.eventually

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

case("the module extends skynet", function()
	eq(manager, skynet)
	for _, name in ipairs { "launch", "kill", "abort", "register", "name", "monitor", "forward_type", "filter" } do
		eq(type(skynet[name]), "function", name)
	end
end)

case("register and name: local names", function()
	skynet.register ".manager_one"
	skynet.register ".manager_two"
	eq(skynet.localname ".manager_one", skynet.self())
	eq(skynet.localname ".manager_two", skynet.self())
	local peer = test.peer()
	skynet.name(".manager_peer", peer)
	eq(skynet.localname ".manager_peer", peer)
	-- The first owner keeps a name.
	skynet.name(".manager_one", peer)
	eq(skynet.localname ".manager_one", skynet.self())
	skynet.kill(peer)
	eventually(function() return skynet.localname ".manager_peer" == nil end)
	-- Then it is free.
	peer = test.peer()
	skynet.name(".manager_peer", peer)
	eq(skynet.localname ".manager_peer", peer)
	skynet.kill ".manager_peer"
	eventually(function() return skynet.localname ".manager_peer" == nil end)
end)

case("names that are refused", function()
	for _, name in ipairs { ":name", ":00000001", "sixteen_letters_", "1234", "0x10" } do
		raises("assertion failed!", skynet.register, name)
		raises("assertion failed!", skynet.name, name, 1)
	end
end)

case("global names on a single node", function()
	local peer = test.peer()
	skynet.name("MANAGER_PEER", peer)
	eq(harbor.queryname "MANAGER_PEER", peer)
	eq(at("MANAGER_PEER", function() skynet.retpack "by name" end), "by name")
	skynet.register "MANAGER_SELF"
	eq(harbor.queryname "MANAGER_SELF", skynet.self())
	harbor.globalname("MANAGER_THIRD", peer)
	eq(harbor.queryname "MANAGER_THIRD", peer)
	harbor.globalname "MANAGER_FOURTH"
	eq(harbor.queryname "MANAGER_FOURTH", skynet.self())
	eq(harbor.queryname ".launcher", skynet.localname ".launcher")
	-- A taken name stays; the failure is cslave's.
	local from = test.log_end()
	skynet.name("MANAGER_PEER", skynet.self())
	test.logged("assertion failed!", from)
	eq(harbor.queryname "MANAGER_PEER", peer)
	-- A query waits for a registration, and so does a message.
	local query = test.async(harbor.queryname, "MANAGER_LATER")
	local call = test.async(at, "MANAGER_LATER", function() skynet.retpack "late" end)
	skynet.yield()
	skynet.name("MANAGER_LATER", peer)
	eq(query(), peer)
	eq(call(), "late")
end)

case("harbor.link, connect, linkmaster on a single node", function()
	eq(select("#", harbor.link(2)), 0)
	raises("call failed", harbor.linkmaster)
	local from = test.log_end()
	local connect = test.async(pcall, harbor.connect, 2)
	test.logged("Can't connect to other harbor in single node mode", from)
	skynet.term ".cslave"
	eq((connect()), false)
	raises("call", skynet.call, 0x02000001, "lua", "x")
end)

case("launch", function()
	local handle = skynet.launch("snlua", "suite_peer")
	eq(math.type(handle), "integer")
	-- It is not awaited: the first answer comes after its main chunk, the second after its start.
	skynet.call(handle, "debug", "PING")
	skynet.call(handle, "debug", "PING")
	eq(at(handle, function() skynet.retpack "launched" end), "launched")
	-- The launcher does not know it.
	eq(skynet.call(".launcher", "lua", "LIST")[skynet.address(handle)], nil)
	skynet.kill(handle)
	eq(select("#", skynet.launch "no_such_module"), 0)
	eq(pcall(skynet.launch, {}), false)
end)

case("kill never fails", function()
	local from = test.log_end()
	eq(select("#", skynet.kill(0xfff0)), 0)
	eq(select("#", skynet.kill ".nobody"), 0)
	eq(select("#", skynet.kill "nonsense"), 0)
	test.logged("error: Can't convert nonsense to handle", from)
end)

case("forward_type: the handler owns the buffer", function()
	local forwarder = test.spawn(function()
		require "skynet.manager"
		skynet.register_protocol {
			name = "text",
			id = skynet.PTYPE_TEXT,
			unpack = function(...) return ... end,
			dispatch = function(session, source, msg, sz)
				if skynet.tostring(msg, sz) == skynet.packstring "back" then
					skynet.redirect(source, skynet.self(), "response", session, msg, sz)
					skynet.ignoreret()
				elseif sz == 0 then
					skynet.trash(msg, sz)
					skynet.retpack "empty"
				else
					skynet.trash(msg, sz)
					skynet.retpack("other", session ~= 0)
				end
			end,
		}
		skynet.forward_type({ [skynet.PTYPE_LUA] = skynet.PTYPE_TEXT }, function()
			skynet.yield()
			started = true
		end)
	end)
	for _ = 1, 50 do
		eq(skynet.call(forwarder, "lua", "back"), "back")
		eq({ skynet.call(forwarder, "lua", 5) }, { "other", true })
	end
	eq(skynet.call(forwarder, "lua"), "empty")
	eq(select("#", skynet.call(forwarder, "debug", "PING")), 0)
	raises("call failed", skynet.call, forwarder, "debug", "NOPE")
	skynet.send(forwarder, "debug", "EXIT")
end)

case("filter sees and changes every message", function()
	local filtered = test.spawn(function()
		require "skynet.manager"
		local seen = 0
		skynet.filter(function(ptype, msg, sz, session, source)
			seen = seen + 1
			if ptype == skynet.PTYPE_TEXT then
				ptype = skynet.PTYPE_LUA
			end
			return ptype, msg, sz, session, source
		end, function()
			skynet.dispatch("lua", function(_, _, ...)
				skynet.retpack(seen, ...)
			end)
		end)
	end)
	skynet.register_protocol { name = "text", id = skynet.PTYPE_TEXT, pack = skynet.pack, unpack = skynet.unpack }
	local first, value = skynet.call(filtered, "text", "as text")
	eq(value, "as text")
	eq({ skynet.call(filtered, "lua", "as lua", nil) }, { first + 1, "as lua" })
	skynet.send(filtered, "debug", "EXIT")
end)

case("datacenter", function()
	eq(datacenter.get "nothing", nil)
	eq(datacenter.get("a", "b", "c"), nil)
	eq(datacenter.set("a", "b", "c", 1), nil)
	eq(datacenter.get("a", "b", "c"), 1)
	eq(datacenter.get "a", { b = { c = 1 } })
	eq(datacenter.set("a", "b", "c", 2), 1)
	eq(datacenter.set("a", "b", "c", nil), 2)
	eq(datacenter.get("a", "b", "c"), nil)
	eq(datacenter.get("a", "b"), {})
	datacenter.set("value", 5)
	raises("call failed", datacenter.set, "value", "below", 1)
	raises("call failed", datacenter.get, "value", "below")
	eq(datacenter.get "value", 5)
end)

case("datacenter.wait", function()
	datacenter.set("there", "already", "here")
	eq(datacenter.wait("there", "already"), "here")
	local one, two = test.async(datacenter.wait, "to", "come"), test.async(datacenter.wait, "to", "come")
	local below = test.async(pcall, datacenter.wait, "branch")
	skynet.yield()
	datacenter.set("to", "other", 1)
	datacenter.set("to", "come", "now")
	eq(one(), "now")
	eq(two(), "now")
	-- A value below the path that is waited for ends the wait with an error.
	datacenter.set("branch", "leaf", 1)
	eq((below()), false)
	eq(datacenter.wait("to", "come"), "now")
end)

case("mqueue serves one request after the other", function()
	local server = test.spawn(function()
		local mqueue = require "skynet.mqueue"
		local inside, list = 0, {}
		mqueue.register(function(cmd, ...)
			inside = inside + 1
			assert(inside == 1)
			list[#list + 1] = cmd
			skynet.yield()
			skynet.sleep(1)
			inside = inside - 1
			if cmd == "fail" then
				error "failed on purpose"
			elseif cmd == "list" then
				return table.concat(list, " "), mqueue.size()
			end
			return ...
		end)
		again = pcall(mqueue.register, print)
		skynet.start(function()
			skynet.dispatch("lua", function() skynet.retpack(again) end)
		end)
	end)
	local mqueue = require "skynet.mqueue"
	eq(skynet.call(server, "lua"), false)
	eq(mqueue.size(), 0)
	local from = test.log_end()
	eq(mqueue.send(server, "one"), 0)
	eq(mqueue.send(server, "two"), 0)
	local calls = {}
	for i = 1, 5 do
		calls[i] = test.async(mqueue.call, server, "call" .. i, i, nil)
	end
	skynet.yield()
	eq(pcall(mqueue.call, server, "fail"), false)
	raises("failed on purpose", mqueue.call, server, "fail")
	for i = 1, 5 do
		eq(calls[i](), i)
	end
	mqueue.send(server, "fail")
	eq({ mqueue.call(server, "list") }, { "one two call1 call2 call3 call4 call5 fail fail fail list", 0 })
	has(test.log(from), "throw an error : ")
	eq(string.find(test.log(from), "Maybe forgot"), nil)
	raises("call to invalid address", mqueue.call, 0xfff0)
	eq(select("#", mqueue.send(0xfff0)), 0)
	skynet.send(server, "debug", "EXIT")
end)

case("the names of before version 1.1", function()
	package.path = "./lualib/compat10/?.lua;" .. package.path
	for _, name in ipairs { "datacenter", "memory", "mqueue", "netpack", "profile", "snax", "socket", "socketdriver" } do
		eq(require(name), require("skynet." .. name), name)
	end
end)

test.run(cases)
