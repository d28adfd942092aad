-- garbage in trees, generational
collectgarbage('generational')
local function tree(d) if d == 0 then return {} end return {tree(d - 1), tree(d - 1)} end
local function check(t) return t[1] and 1 + check(t[1]) + check(t[2]) or 1 end
local long = tree(12)
local s = 0
for i = 1, 30 do s = s + check(tree(9)) end
print(s + check(long))
