-- Ends the pause of a lane whose breaker is open, but not within `gap_ms` of the last refusal: its cause may be gone.
-- args: agenda_name, lane, now (ms), gap_ms, forget_key (to be deleted, as it caches the refusal; '' for none)
-- flags: allow-oom
local hash = key.lane(agenda_name, lane)
local own = redis.call('HMGET', hash, 'refused_at', 'not_before')
if not own[1] then return end
if forget_key ~= '' then redis.call('DEL', forget_key) end
local at = math.max(tonumber(now), guard.number(own[1], 0) + gap_ms)
if at < guard.number(own[2], 0) then
  redis.call('HSET', hash, 'not_before', at)
  redis.call('ZADD', key.lanes(agenda_name), 'LT', at, lane)
  agenda.wake(agenda_name)
end
