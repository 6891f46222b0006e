-- Something has changed: a lane that is refused is tried now, or as soon as the last refusal is long enough ago.
-- ARGV: agenda, lane, now, how long ago (ms) the last refusal must be, key of what remembers the refusal ('' for none)
-- flags: allow-oom
local name, lane = ARGV[1], key.lane(ARGV[1], ARGV[2])
local own = redis.call('HMGET', lane, 'refused_at', 'not_before')
if not own[1] then return end
if ARGV[5] ~= '' then redis.call('DEL', ARGV[5]) end
local at = math.max(tonumber(ARGV[3]), own[1] + ARGV[4])
if at < tonumber(own[2]) then
  redis.call('HSET', lane, 'not_before', at)
  redis.call('ZADD', key.lanes(name), 'LT', at, ARGV[2])
  agenda.wake(name)
end
