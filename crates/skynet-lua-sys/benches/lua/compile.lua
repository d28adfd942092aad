-- the compiler
local text = [[
local function f_N(a, b) local t = {x_N = a, y_N = b} return t.x_N + t.y_N end
local s_N = 0
for i = 1, 10 do s_N = s_N + f_N(i, i) end
return s_N]]
local s = 0
for i = 1, 3000 do s = s + load((text:gsub('N', tostring(i % 100))))() end
print(s)
