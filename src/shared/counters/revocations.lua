-- Adds revocations. KEYS[1] the sorted set of all. ARGV: milliseconds to keep them, then the revocations.
-- Each gets a score of its own that is higher than all before: a gateway reads on from the last one that it has.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local keep = tonumber(ARGV[1])
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then
  redis.call('DEL', KEYS[1])
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
local score = now
if last[2] and tonumber(last[2]) >= score then
  score = tonumber(last[2]) + 1
end
local added = 0
for index = 2, #ARGV do
  if redis.call('ZADD', KEYS[1], 'NX', score, ARGV[index]) == 1 then
    added = added + 1
    score = score + 1
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - keep)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -100001)
if redis.call('PTTL', KEYS[1]) < keep then
  redis.call('PEXPIRE', KEYS[1], keep)
end
return added
