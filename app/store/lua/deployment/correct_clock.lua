-- A process says whether it has seen Redis' clock leap. When at least two have seen the same leap, and more than have
-- not, the correction of the deployment's time changes, so that this time goes on. Once Redis' clock is right again
-- there is no correction.
-- args: process (any name), correction (ms, that it knows), leap (ms; 0 for none),
--       near (ms, by which two measurements may differ), now (ms), count (1: decide now, if possible)
-- flags: allow-oom
local LIFE_S = 15
local leaps = key.clock_leaps()
near, leap = tonumber(near), tonumber(leap)
if guard.number(redis.call('HGET', key.clock(), 'correction'), 0) ~= tonumber(correction) then return end
if leap == 0 and redis.call('EXISTS', leaps) == 0 then return end -- it has just ended: nothing would let this expire
redis.call('HSET', leaps, process, leap)
if leap ~= 0 then redis.call('EXPIRE', leaps, LIFE_S) end
if count ~= '1' then return end
local agree, all = 0, redis.call('HVALS', leaps)
for _, other in ipairs(all) do
  if math.abs(guard.number(other, math.huge) - leap) <= near then agree = agree + 1 end
end
if agree < 2 or 2 * agree <= #all then return end
redis.call('DEL', leaps)
local new = correction - leap
if math.abs(new) <= near then
  redis.call('DEL', key.clock())
else
  redis.call('HSET', key.clock(), 'correction', string.format('%d', new))
  redis.call('HSETNX', key.clock(), 'since', now)
end
