-- The first service of a node: launches the system's services, then the one
-- that the config calls `start`.
local skynet = require "skynet"
local core = require "skynet.core"
require "skynet.manager"

local SERVICE_PATTERNS <const> = skynet.getenv "luaservice" or "./service/?.lua"

-- Single node: no master, no other harbors. It counts as the standalone one.
local function start_single()
	assert(skynet.getenv "standalone" == nil, "config: standalone must not be set when harbor is 0")
	skynet.setenv("standalone", "true")
	skynet.name(".cslave", skynet.newservice "cdummy")
end

local function start_harbor()
	-- The services of a harbor network are not part of this executable.
	assert(package.searchpath("cslave", SERVICE_PATTERNS), "config: only harbor = 0 (a single node) is supported")
	if skynet.getenv "standalone" then
		skynet.newservice "cmaster"
	end
	skynet.name(".cslave", skynet.newservice "cslave")
end

local function start_tls()
	require "skynet.service".new("ltls_holder", function()
		require "ltls.init.c".constructor()
	end)
end

local function boot()
	local launcher = assert(skynet.launch("snlua", "launcher"))
	skynet.name(".launcher", launcher)
	if tonumber(skynet.getenv "harbor") == 0 then
		start_single()
	else
		start_harbor()
	end
	if skynet.getenv "standalone" then
		skynet.name("DATACENTER", skynet.newservice "datacenterd")
	end
	skynet.newservice "service_mgr"
	if skynet.getenv "enablessl" == "true" then
		start_tls()
	end
end

-- Without its system services a node is of no use, and ends with exit code 1.
skynet.start(function()
	local ok, err = xpcall(boot, debug.traceback)
	if not ok then
		skynet.error("bootstrap failed: " .. tostring(err))
		core.command("ABORT", "1")
		return
	end
	pcall(skynet.newservice, skynet.getenv "start" or "main")
	skynet.exit()
end)
