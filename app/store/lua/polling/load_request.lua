-- Loads a request and clears `again`: a job that joins after this triggers another ListJobs.
-- args: project, request
-- Returns: field, value, ... of its hash
-- item: 'poll', project, 'request:' .. request
-- flags: allow-oom
redis.call('HDEL', key.request(project, request), 'again')
return redis.call('HGETALL', key.request(project, request))
