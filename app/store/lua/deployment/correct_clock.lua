-- A process has seen Redis' clock leap. When another one sees the same leap, the correction of the deployment's time
-- changes, so that this time goes on.
-- args: process (any name), correction (ms, that it knows), leap (ms), near (ms, by which two measurements may differ)
-- flags: allow-oom
local LIFE_S = 30
local stored = redis.call('GET', key.clock()) or '0'
if tonumber(stored) ~= tonumber(correction) then return end
redis.call('HSET', key.clock_leaps(), process, leap)
redis.call('EXPIRE', key.clock_leaps(), LIFE_S)
local agree = 0
for _, other in ipairs(redis.call('HVALS', key.clock_leaps())) do
  if math.abs(other - leap) <= tonumber(near) then agree = agree + 1 end
end
if agree < 2 then return end
redis.call('SET', key.clock(), string.format('%d', correction - leap))
redis.call('DEL', key.clock_leaps())
