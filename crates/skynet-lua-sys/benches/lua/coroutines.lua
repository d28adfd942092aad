-- coroutines and protected calls
local function gen(n) return coroutine.wrap(function () for i = 1, n do coroutine.yield(i) end end) end
local s = 0
for i = 1, 3000 do for v in gen(20) do s = s + v end end
for i = 1, 50000 do if pcall(error, i) then s = s + 1 end end
print(s)
