-- Pauses a destination at its tenant's request. A destination that is already on hold stays as it is.
-- args: lane, now (ms)
-- flags: allow-oom
local hash = key.lane('deliver', lane)
if redis.call('HSETNX', hash, 'held', now) == 1 then
  redis.call('HSET', hash, 'held_why', 'paused')
  redis.call('SADD', key.lanes_in_state('paused'), lane)
end
