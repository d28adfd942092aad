--- One player: turns its packets into requests to the room and tells it what
--- happens. A packet is a two-byte length and a line of text.
local skynet = require "skynet"
local driver = require "skynet.socketdriver"
local queue = require "skynet.queue"

local LOGIN_TIME <const> = 10 * 100 -- centiseconds to say a name
local IDLE_TIME <const> = 5 * 60 * 100 -- centiseconds without a packet

local fd, watchdog, room
local name -- nil until the room has let the player in
local entering -- the name while the room is asked
local last_packet = 0

local function tell(text)
	driver.send(fd, string.pack(">s2", text))
end

local function hang_up(text)
	tell("! " .. text)
	skynet.send(watchdog, "lua", "close", fd)
end

local function check_idle()
	local left = last_packet + IDLE_TIME - skynet.now()
	if left <= 0 then
		hang_up "you fell asleep"
	else
		skynet.timeout(left, check_idle)
	end
end

local actions = {}

function actions.login(wanted)
	if name then
		return tell("! you are " .. name)
	end
	if not wanted:match "^[%w_]+$" or #wanted > 16 then
		return tell "! a name has 1 to 16 letters, digits or _"
	end
	entering = wanted
	local ok, reason = skynet.call(room, "lua", "enter", wanted, skynet.self())
	entering = nil
	if not ok then
		return tell("! " .. reason)
	end
	name = wanted
	tell("> welcome, " .. name)
	check_idle()
end

function actions.move(direction)
	local ok, reason = skynet.call(room, "lua", "move", name, direction)
	if not ok then
		tell("! " .. reason)
	end
end

function actions.say(text)
	skynet.send(room, "lua", "say", name, text)
end

function actions.look()
	tell(skynet.call(room, "lua", "look", name))
end

function actions.who()
	tell(skynet.call(room, "lua", "who"))
end

function actions.top()
	tell(skynet.call(room, "lua", "top"))
end

function actions.quit()
	hang_up "bye"
end

--- A packet waits until those before it are done with, although they wait for the room.
local in_order = queue()

local function handle(line)
	last_packet = skynet.now()
	local verb, rest = line:match "^(%S+)%s*(.-)%s*$"
	local action = actions[verb]
	if not action then
		tell "! commands: login NAME, move n|s|e|w, say TEXT, look, who, top, quit"
	elseif not name and verb ~= "login" and verb ~= "quit" then
		tell "! first say who you are: login NAME"
	else
		action(rest)
	end
end

skynet.register_protocol {
	name = "client",
	id = skynet.PTYPE_CLIENT,
	unpack = skynet.tostring,
	dispatch = function(_, _, line)
		-- The session is the descriptor: there is nobody to answer.
		skynet.ignoreret()
		in_order(handle, line)
	end,
}

local commands = {}

function commands.start(conf)
	fd, watchdog = conf.fd, conf.watchdog
	room = skynet.uniqueservice "room"
	skynet.call(conf.gate, "lua", "forward", fd)
	tell "> who are you? login NAME"
	skynet.timeout(LOGIN_TIME, function()
		if not name then
			hang_up "too slow"
		end
	end)
end

--- The room tells what happens there.
function commands.event(text)
	tell(text)
end

function commands.disconnect()
	-- The room takes requests in order: if it is letting us in, it does so first.
	if name or entering then
		skynet.call(room, "lua", "leave", name or entering, skynet.self())
	end
	skynet.exit()
end

skynet.start(function()
	skynet.dispatch("lua", function(session, _, command, ...)
		local result = commands[command](...)
		if session ~= 0 then
			skynet.retpack(result)
		end
	end)
end)
