-- What the poller needs to know of a watch.
-- ARGV: project, job, field...
-- Returns: the values of the fields; nothing if nobody waits for the job any more.
local values = redis.call('HMGET', key.watch(ARGV[1], ARGV[2]), unpack(ARGV, 3))
return values[1] and values or false
