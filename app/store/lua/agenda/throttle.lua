-- The other side answered 429 (too many requests): pauses the lane, and lowers its rate after that.
-- Answers to concurrent calls count as one.
-- args: agenda_name, lane, now (ms), till (ms),
--       stated_rate (per second, stated in the answer; '' for half the current one),
--       rate (per second, of a lane without its own)
-- flags: allow-oom
now, till = tonumber(now), tonumber(till)
local hash = key.lane(agenda_name, lane)
local paused_until = guard.number(redis.call('HGET', hash, 'not_before'), 0)
if stated_rate ~= '' or paused_until <= now then
  local learned = stated_rate ~= '' and tonumber(stated_rate) or budget.rate(agenda_name, lane, rate, now) / 2
  redis.call('HSET', hash, 'learned', tostring(math.max(learned, 1 / 60)), 'learned_at', math.max(now, till))
end
redis.call('HSET', hash, 'not_before', math.max(paused_until, till), 'tokens', '0', 'stamp', till)
