-- The other side says that it is too much: no work from the lane until a moment, and a slower pace after it.
-- Answers to calls that were under way together count as one.
-- ARGV: agenda, lane, now, until (ms), rate that it told ('' if none), rate of a lane that has none of its own
-- flags: allow-oom
local name, lane, now, told = ARGV[1], key.lane(ARGV[1], ARGV[2]), tonumber(ARGV[3]), ARGV[5]
local paused_until = tonumber(redis.call('HGET', lane, 'not_before') or '0')
if told ~= '' or paused_until <= now then
  local learned = told ~= '' and tonumber(told) or budget.rate(name, ARGV[2], ARGV[6], now) / 2
  redis.call('HSET', lane, 'learned', tostring(math.max(learned, 1 / 60)), 'learned_at', math.max(now, tonumber(ARGV[4])))
end
redis.call('HSET', lane, 'not_before', math.max(paused_until, tonumber(ARGV[4])), 'tokens', '0', 'stamp', ARGV[4])
