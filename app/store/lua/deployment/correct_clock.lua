-- A process has seen Redis' clock leap. When another one sees the same leap, the correction of the deployment's time
-- changes, so that this time goes on. Once Redis' clock is right again there is no correction.
-- args: process (any name), correction (ms, that it knows), leap (ms), near (ms, by which two measurements may differ),
--       now (ms)
-- flags: allow-oom
local LIFE_S = 30
near = tonumber(near)
if guard.number(redis.call('HGET', key.clock(), 'correction'), 0) ~= tonumber(correction) then return end
redis.call('HSET', key.clock_leaps(), process, leap)
redis.call('EXPIRE', key.clock_leaps(), LIFE_S)
local agree = 0
for _, other in ipairs(redis.call('HVALS', key.clock_leaps())) do
  if math.abs(guard.number(other, math.huge) - leap) <= near then agree = agree + 1 end
end
if agree < 2 then return end
redis.call('DEL', key.clock_leaps())
local new = correction - leap
if math.abs(new) <= near then
  redis.call('DEL', key.clock())
else
  redis.call('HSET', key.clock(), 'correction', string.format('%d', new))
  redis.call('HSETNX', key.clock(), 'since', now)
end
