-- A session of a user's comes in, if there is room.
-- KEYS[1] the user's sessions: by name, when it began, when its lease ends, whose it is. ARGV: name, gateway,
-- the most, whether the oldest makes room, milliseconds of a lease, the name of the lists of who must go.
-- Returns when it began, 0 for no room.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[5])
-- A value of another type is replaced: it is nothing that a gateway has written.
local function is_of_another_type(answer)
  return type(answer) == 'table' and answer.err and string.find(answer.err, 'WRONGTYPE', 1, true)
end
local all = redis.pcall('HGETALL', KEYS[1])
if is_of_another_type(all) then
  redis.call('DEL', KEYS[1])
  all = {}
elseif all.err then
  return all
end
local live = {}
for i = 1, #all, 2 do
  local began, ends, gateway = string.match(all[i + 1], '^(%d+) (%d+) (%w+)$')
  if not ends or tonumber(ends) <= now then
    redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= ARGV[1] then
    began = math.min(tonumber(began), now)
    -- The clock was ahead when it was written. A gateway that lives writes it anew.
    if tonumber(ends) > now + 3 * lease then
      redis.call('HSET', KEYS[1], all[i], string.format('%.0f %.0f %s', began, now + lease, gateway))
    end
    live[#live + 1] = {name = all[i], began = began, gateway = gateway}
  end
end
local most = tonumber(ARGV[3])
local over = #live + 1 - most
if over > 0 then
  if ARGV[4] ~= '1' or most == 0 then return 0 end
  table.sort(live, function(a, b) return a.began < b.began end)
  for i = 1, over do
    local list = ARGV[6] .. live[i].gateway
    redis.call('HDEL', KEYS[1], live[i].name)
    if is_of_another_type(redis.pcall('RPUSH', list, live[i].name)) then
      redis.call('DEL', list)
      redis.call('RPUSH', list, live[i].name)
    end
    redis.call('PEXPIRE', list, lease)
  end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f %s', now, now + lease, ARGV[2]))
redis.call('PEXPIRE', KEYS[1], lease)
return now
