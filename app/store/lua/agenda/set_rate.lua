-- Gives a lane a rate of its own, or takes it away again.
-- ARGV: agenda, lane, rate (a second; '' for none)
-- flags: allow-oom
local lane = key.lane(ARGV[1], ARGV[2])
if ARGV[3] == '' then redis.call('HDEL', lane, 'rate') else redis.call('HSET', lane, 'rate', ARGV[3]) end
