-- Gives a lane a rate limit of its own, or removes it.
-- args: agenda_name, lane, rate (per second; '' removes it)
-- flags: allow-oom
local hash = key.lane(agenda_name, lane)
if rate == '' then redis.call('HDEL', hash, 'rate') else redis.call('HSET', hash, 'rate', rate) end
