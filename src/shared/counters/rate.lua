-- Generic cell rate algorithm (ITU-T I.371) by the server's clock, in microseconds.
-- KEYS[1] when the next request would be in time; ARGV: microseconds a request, microseconds a burst.
-- Returns how long to wait, 0 for not at all.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local each, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
-- A value that is no number, or of another type, is replaced.
local kept = redis.pcall('GET', KEYS[1])
local due = type(kept) == 'string' and tonumber(kept) or now
if not (due >= now) then due = now end
-- No request moves it further than a burst ahead: there, the clock was ahead when it was written.
local is_ahead = due > now + burst + 0.5
if is_ahead then due = now + burst end
local function keep(at)
  redis.call('SET', KEYS[1], string.format('%.2f', at), 'PX', math.ceil((at - now) / 1000) + 1)
end
local wait = due + each - now - burst
-- Half a microsecond is what a double can't tell from nothing, at today's date.
if wait > 0.5 then
  if is_ahead then keep(due) end
  return math.ceil(wait)
end
keep(due + each)
return 0
