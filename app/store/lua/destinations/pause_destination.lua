-- A tenant pauses a destination. One that is held already stays as it is.
-- ARGV: lane, now
-- flags: allow-oom
local hash = key.lane('deliver', ARGV[1])
if redis.call('HSETNX', hash, 'held', ARGV[2]) == 1 then
  redis.call('HSET', hash, 'held_why', 'paused')
  redis.call('SADD', key.lanes_that_are('paused'), ARGV[1])
end
