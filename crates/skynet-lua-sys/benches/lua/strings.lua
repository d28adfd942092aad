-- the string library
local words = {}
for w in ([[the quick brown fox jumps over the lazy dog and runs away from it]]):gmatch('%a+') do
  words[#words + 1] = w
end
local n = 0
for i = 1, 4000 do
  local line = table.concat(words, ' ')
  line = line:gsub('%a+', function (w) return w:sub(1, 1):upper() .. w:sub(2) end)
  n = n + #line + #string.format('%d %s %5.2f', i, 'abc', i / 3)
  n = n + (line:find('Lazy', 1, true) or 0)
end
print(n)
