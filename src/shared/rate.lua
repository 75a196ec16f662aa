-- Generic cell rate algorithm (ITU-T I.371) by the server's clock, in microseconds.
-- KEYS[1] when the next request would be in time; ARGV: microseconds a request, microseconds a burst.
-- Returns how long to wait, 0 for not at all.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local due = tonumber(redis.call('GET', KEYS[1]) or now)
if due < now then due = now end
local next = due + ARGV[1]
local wait = next - now - ARGV[2]
-- Half a microsecond is what a double can't tell from nothing, at today's date.
if wait > 0.5 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.2f', next), 'PX', math.ceil((next - now) / 1000) + 1)
return 0
