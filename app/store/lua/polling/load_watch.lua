-- Loads a watch.
-- args: project, job, fields...
-- Returns: the values of the fields; false if no registration waits for the job any more.
-- item: 'poll', project, job
-- flags: allow-oom
local values = redis.call('HMGET', key.watch(project, job), unpack(fields))
return values[1] and values or false
