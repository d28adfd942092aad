-- the same, incremental
local function tree(d) if d == 0 then return {} end return {left = tree(d - 1), right = tree(d - 1)} end
local function check(t) return t.left and 1 + check(t.left) + check(t.right) or 1 end
local long = tree(12)
local s = 0
for i = 1, 30 do s = s + check(tree(9)) end
print(s + check(long))
