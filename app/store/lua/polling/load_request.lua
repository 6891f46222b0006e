-- Loads a request. A job that joins it after this asks for another call.
-- args: project, request
-- Returns: field, value, ... of its hash
redis.call('HDEL', key.request(project, request), 'again')
return redis.call('HGETALL', key.request(project, request))
