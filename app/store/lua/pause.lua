-- Keeps a lane from being served before a moment. A longer pause stands.
-- ARGV: agenda, lane, until (ms)
local lane = key.lane(ARGV[1], ARGV[2])
if tonumber(redis.call('HGET', lane, 'not_before') or '0') < tonumber(ARGV[3]) then
  redis.call('HSET', lane, 'not_before', ARGV[3])
end
