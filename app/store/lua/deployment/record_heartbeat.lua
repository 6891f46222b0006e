-- Records the dispatcher's heartbeat.
-- args: now (ms), ticks, overdue (registrations ended because their deadline had passed)
-- flags: allow-oom
redis.call('HSET', key.counts(), 'looked', now)
redis.call('HINCRBY', key.counts(), 'looks', ticks)
if overdue ~= '0' then redis.call('HINCRBY', key.counts(), 'overdue', overdue) end
