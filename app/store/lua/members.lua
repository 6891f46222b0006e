-- Which jobs a request may answer for.
-- ARGV: project, request
-- Returns: field, value, ... of its hash
return redis.call('HGETALL', key.request(ARGV[1], ARGV[2]))
