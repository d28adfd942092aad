-- Launches what is typed at the terminal: `snax NAME ARGS` or `NAME ARGS`.
local skynet = require "skynet"
local snax = require "skynet.snax"
local socket = require "skynet.socket"

local function run(line)
	local words = {}
	for word in string.gmatch(line, "%S+") do
		words[#words + 1] = word
	end
	if words[1] == "snax" then
		pcall(snax.newservice, select(2, table.unpack(words)))
	elseif #words > 0 then
		pcall(skynet.newservice, line)
	end
end

local function read_lines()
	local stdin = socket.stdin()
	while true do
		local line = socket.readline(stdin, "\n")
		if not line then
			return
		end
		run(line)
	end
end

skynet.start(function()
	skynet.fork(read_lines)
end)
