-- fresh short strings as keys, kept
local t = {}
for i = 1, 60000 do t['item_' .. i] = i end
local s = 0
for i = 1, 60000 do s = s + t['item_' .. i] end
print(s)
