-- a service: little alive, garbage all the time, generational as services are
collectgarbage('generational')
local state = {}
for i = 1, 50 do state[i] = {id = i, hp = 100} end
local n = 0
for i = 1, 100000 do
  local msg = {type = 'hit', target = i % 50 + 1, amount = 3}
  local o = state[msg.target]
  o.hp = o.hp - msg.amount
  if o.hp <= 0 then state[msg.target] = {id = o.id, hp = 100} n = n + 1 end
end
print(n)
