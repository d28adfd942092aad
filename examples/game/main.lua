--- A small multi-player game: players walk about a field, pick up coins and
--- talk. One service per concern: store (scores, in a file), room (the field),
--- gate and watchdog (connections), one agent per player.
local skynet = require "skynet"
require "skynet.manager"

local function open(watchdog, address, port)
	return skynet.call(watchdog, "lua", "start", {
		address = address,
		port = port,
		maxclient = 1024,
		nodelay = true,
	})
end

skynet.start(function()
	local address = skynet.getenv "game_address" or "127.0.0.1"
	local port = math.tointeger(tonumber(skynet.getenv "game_port" or 8888))
	skynet.uniqueservice("store", skynet.getenv "game_store" or "game-store.txt")
	skynet.uniqueservice "room"
	local watchdog = skynet.newservice "watchdog"
	local ok, ip, real_port = pcall(open, watchdog, address, port)
	if not ok and skynet.getenv "game_any_port" == "true" then
		skynet.error(string.format("Port %d is in use, taking another one", port))
		ok, ip, real_port = pcall(open, watchdog, address, 0)
	end
	if not ok then
		skynet.error(string.format("Cannot listen on %s %s: %s", address, port, ip))
		skynet.abort()
		return
	end
	skynet.error(string.format("Game is open on %s port %d", ip, real_port))
	skynet.error(string.format("Play: skynet lua examples/client.lua YOUR_NAME %d", real_port))
	skynet.exit()
end)
