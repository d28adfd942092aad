--- A player at a terminal: skynet lua examples/client.lua NAME [PORT [ADDRESS]]
local socket = require "client.socket"

local name, port, address = ...
if not name then
	print "usage: skynet lua examples/client.lua NAME [PORT [ADDRESS]]"
	os.exit(2)
end

local fd = socket.connect(address or "127.0.0.1", math.tointeger(tonumber(port or 8888)))

local function send(text)
	socket.send(fd, string.pack(">s2", text))
end

local unread = ""

--- The next line the server has sent, if it is complete.
local function receive()
	local data = socket.recv(fd)
	if data == "" then
		print "The server has closed the connection."
		os.exit(0)
	end
	unread = unread .. (data or "")
	if #unread < 2 or #unread < 2 + string.unpack(">I2", unread) then
		return
	end
	local text, rest = string.unpack(">s2", unread)
	unread = unread:sub(rest)
	return text
end

local shortcuts = { n = "move n", s = "move s", e = "move e", w = "move w", l = "look" }
local verbs = { login = true, move = true, say = true, look = true, who = true, top = true, quit = true }

--- What is typed: a shortcut, a command, or something to say.
local function command(line)
	local verb = line:match "^%S+"
	return shortcuts[line] or (verbs[verb] and line) or "say " .. line
end

io.stdout:setvbuf "line"
print "n s e w: walk   l: look   who   top   quit   anything else is said"
send("login " .. name)
while true do
	local idle = true
	local text = receive()
	while text do
		print(text)
		text, idle = receive(), false
	end
	local line = socket.readstdin()
	if line and line ~= "" then
		send(command(line))
		idle = false
	end
	if idle then
		socket.usleep(20000)
	end
end
