-- fields, methods, metatables, closures
local Point = {}
Point.__index = Point
Point.__add = function (a, b) return setmetatable({x = a.x + b.x, y = a.y + b.y}, Point) end
function Point.new(x, y) return setmetatable({x = x, y = y}, Point) end
function Point:move(dx, dy) self.x = self.x + dx self.y = self.y + dy return self end
local function counter() local n = 0 return function () n = n + 1 return n end end
local p = Point.new(0, 0)
for i = 1, 60000 do
  p:move(1, 2)
  p = p + Point.new(i, -i)
  local c = counter() c() c()
end
print(p.x, p.y)
