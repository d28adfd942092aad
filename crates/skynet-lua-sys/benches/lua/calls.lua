-- function calls and arithmetic
local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
local function va(...) return select('#', ...), ... end
local s = fib(25)
for i = 1, 100000 do s = s + va(i, i, i) end
print(s)
