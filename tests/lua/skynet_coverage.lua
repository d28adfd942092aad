--- Every function of module skynet and its relatives is named in a suite, so that none is without a test.
local skynet = require "skynet"
local plain = {}
for name in pairs(skynet) do
	plain[name] = true
end
local test = require "test"

local cases = {}
local function case(name, f)
	cases[#cases + 1] = { name, f }
end

--- The code of all suites but this one, without comments.
local function suites()
	local pattern = string.match(skynet.getenv "luaservice", "^[^;]*")
	local texts, count = {}, 0
	for name in string.gmatch(skynet.getenv "suites", "%S+") do
		if name ~= SERVICE_NAME then
			local file = assert(io.open((string.gsub(pattern, "%?", name))))
			local text = string.gsub(file:read "a", "%-%-[^\n]*", "")
			file:close()
			texts[#texts + 1] = text
			count = count + 1
		end
	end
	assert(count > 10, "the suites are there")
	return table.concat(texts, "\n")
end

local text = suites()

local function check(variable, names)
	local missing = {}
	for name in pairs(names) do
		if not string.find(text, "%f[%w_]" .. variable .. "[.:]" .. name .. "%f[^%w_]") then
			missing[#missing + 1] = name
		end
	end
	table.sort(missing)
	test.eq(table.concat(missing, " "), "", "not in any suite: " .. variable)
end

case("module skynet", function()
	local names = {}
	for name in pairs(plain) do
		-- The constants are checked by their common prefix.
		if not string.find(name, "^PTYPE_") then
			names[name] = true
		end
	end
	for name, value in pairs(skynet) do
		if type(value) == "function" then
			names[name] = true
		end
	end
	-- Fields that come when they are asked for, or with a module.
	for _, name in ipairs { "cache", "pcall", "_proto", "queue" } do
		names[name] = true
	end
	assert(next(names))
	-- abort is what ends every suite.
	names.abort = nil
	check("skynet", names)
end)

case("nothing of the chapter is missing from the module", function()
	require "skynet.queue"
	for name in string.gmatch([[
		self address localname harbor genid send rawsend redirect error tracelog call rawcall tracecall ret retpack
		response ignoreret context fork timeout sleep yield wait wakeup killthread term now starttime time hpc request
		newservice uniqueservice queryservice exit start init_service init getenv setenv pack packstring unpack tostring
		trash task uniqtask stat mqlen endless info_func trace_timeout trace tracetag memlimit cache pcall
		dispatch_message _proto register_protocol dispatch dispatch_unknown_request dispatch_unknown_response traceproto
		launch kill abort register name monitor forward_type filter queue
		call_timeout timer serial noyield
	]], "%S+") do
		local value = skynet[name]
		-- A service has either asked for a limit or run its main chunk.
		assert(value ~= nil or name == "memlimit", name)
	end
end)

case("its relatives", function()
	for variable, module in pairs {
		co = "skynet.coroutine",
		service = "skynet.service",
		snax = "skynet.snax",
		harbor = "skynet.harbor",
		datacenter = "skynet.datacenter",
		mqueue = "skynet.mqueue",
		memory = "skynet.memory",
		profile = "skynet.profile",
		cache = "skynet.codecache",
		debug = "skynet.debug",
		channel = "skynet.debugchannel",
		r = "skynet.require",
		socket = "skynet.socket",
	} do
		local names = {}
		for name, value in pairs(require(module)) do
			if type(value) == "function" then
				names[name] = true
			end
		end
		assert(next(names), module)
		check(variable, names)
	end
end)

test.run(cases)
