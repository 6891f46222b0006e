-- The cause of a refusal may be gone: retries a lane whose breaker is open now, or once `gap_ms` have passed since the
-- last refusal.
-- args: agenda_name, lane, now (ms), gap_ms, forget_key (key that remembers the refusal; '' for none)
-- flags: allow-oom
local hash = key.lane(agenda_name, lane)
local own = redis.call('HMGET', hash, 'refused_at', 'not_before')
if not own[1] then return end
if forget_key ~= '' then redis.call('DEL', forget_key) end
local at = math.max(tonumber(now), own[1] + gap_ms)
if at < tonumber(own[2]) then
  redis.call('HSET', hash, 'not_before', at)
  redis.call('ZADD', key.lanes(agenda_name), 'LT', at, lane)
  agenda.wake(agenda_name)
end
