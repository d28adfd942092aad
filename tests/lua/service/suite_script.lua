--- A service whose main chunk is a function of a suite.
local skynet = require "skynet"
local test = require "test"

local key = ...
local names, hex = string.match(skynet.getenv(key), "^([^|]*)|(.*)$")
local code = string.gsub(hex, "%x%x", function(byte) return string.char(tonumber(byte, 16)) end)
test.undump(names, code)(select(2, ...))
