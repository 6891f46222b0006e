-- Pauses a destination for its tenant. One that is on hold already stays as it is.
-- args: lane, now (ms)
-- flags: allow-oom
local hash = key.lane('deliver', lane)
if redis.call('HSETNX', hash, 'held', now) == 1 then
  redis.call('HSET', hash, 'held_why', 'paused')
  redis.call('SADD', key.lanes_that_are('paused'), lane)
end
