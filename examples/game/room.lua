--- The field: who is where, where the coins are. It owns this state, so no two
--- players can pick up the same coin.
local skynet = require "skynet"

local WIDTH <const>, HEIGHT <const> = 24, 8
local COINS <const> = 5
local COIN_TIME <const> = 200 -- centiseconds between two coins

local STEP <const> = {
	n = { 0, -1 },
	s = { 0, 1 },
	w = { -1, 0 },
	e = { 1, 0 },
}

local store
local players = {} -- name -> { agent, x, y, score }
local coins = {} -- cell -> true
local coin_count = 0

local function cell(x, y)
	return y * WIDTH + x
end

local function broadcast(text, except)
	for name, player in pairs(players) do
		if name ~= except then
			skynet.send(player.agent, "lua", "event", text)
		end
	end
end

local function drop_coin()
	skynet.timeout(COIN_TIME, drop_coin)
	if coin_count >= COINS or not next(players) then
		return
	end
	local at = cell(math.random(0, WIDTH - 1), math.random(0, HEIGHT - 1))
	if not coins[at] then
		coins[at] = true
		coin_count = coin_count + 1
		broadcast "* a coin drops from the sky"
	end
end

local commands = {}

--- True, or false and the reason.
function commands.enter(name, agent)
	if players[name] then
		return false, name .. " is playing already"
	end
	-- The name is taken before the call below lets another request in.
	local player = { agent = agent, x = WIDTH // 2, y = HEIGHT // 2, score = 0 }
	players[name] = player
	player.score = skynet.call(store, "lua", "get", name)
	broadcast(string.format("* %s enters with %d coins", name, player.score), name)
	return true
end

function commands.leave(name, agent)
	local player = players[name]
	if player and player.agent == agent then
		players[name] = nil
		broadcast(string.format("* %s leaves", name))
	end
end

--- True, or false and the reason.
function commands.move(name, direction)
	local player, step = players[name], STEP[direction]
	if not step then
		return false, "move n, s, e or w"
	end
	local x, y = player.x + step[1], player.y + step[2]
	if x < 0 or x >= WIDTH or y < 0 or y >= HEIGHT then
		return false, "there is a fence"
	end
	player.x, player.y = x, y
	broadcast(string.format("* %s goes to %d,%d", name, x, y))
	local at = cell(x, y)
	if coins[at] then
		coins[at] = nil
		coin_count = coin_count - 1
		player.score = player.score + 1
		skynet.send(store, "lua", "set", name, player.score)
		broadcast(string.format("* %s picks up a coin and has %d", name, player.score))
	end
	return true
end

function commands.say(name, text)
	broadcast(string.format("%s: %s", name, text))
end

--- The field as text: coins $, other players by their initial, oneself @.
function commands.look(name)
	local seen = {}
	for other, player in pairs(players) do
		seen[cell(player.x, player.y)] = other:sub(1, 1)
	end
	local own = players[name]
	seen[cell(own.x, own.y)] = "@"
	local lines = {}
	for y = 0, HEIGHT - 1 do
		local line = {}
		for x = 0, WIDTH - 1 do
			local at = cell(x, y)
			line[#line + 1] = seen[at] or (coins[at] and "$" or ".")
		end
		lines[#lines + 1] = table.concat(line)
	end
	return table.concat(lines, "\n")
end

function commands.who()
	local names = {}
	for name in pairs(players) do
		names[#names + 1] = name
	end
	table.sort(names)
	return "> here: " .. table.concat(names, ", ")
end

function commands.top()
	return "> " .. skynet.call(store, "lua", "top")
end

skynet.start(function()
	store = skynet.uniqueservice "store"
	skynet.dispatch("lua", function(session, _, command, ...)
		if session == 0 then
			commands[command](...)
		else
			skynet.retpack(commands[command](...))
		end
	end)
	drop_coin()
end)
