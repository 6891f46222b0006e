-- What a request answers for; whatever joins it after this look asks for another one.
-- ARGV: project, request
-- Returns: field, value, ... of its hash
redis.call('HDEL', key.request(ARGV[1], ARGV[2]), 'again')
return redis.call('HGETALL', key.request(ARGV[1], ARGV[2]))
