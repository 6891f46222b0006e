-- The dispatcher has looked.
-- ARGV: now, how often, how many registrations it ended because their deadline had passed
-- flags: allow-oom
redis.call('HSET', key.counts(), 'looked', ARGV[1])
redis.call('HINCRBY', key.counts(), 'looks', ARGV[2])
if ARGV[3] ~= '0' then redis.call('HINCRBY', key.counts(), 'overdue', ARGV[3]) end
