-- sorting, numbers and strings
local r = 7
local function rnd() r = (r * 1103515245 + 12345) % 2147483648 return r end
local t, u = {}, {}
for i = 1, 20000 do t[i] = rnd() u[i] = tostring(rnd()) end
table.sort(t) table.sort(u)
print(t[1], u[1])
