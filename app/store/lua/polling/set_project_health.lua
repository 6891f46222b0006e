-- How a CPH project fares, as a poll worker has seen it just now.
-- ARGV: project, field, value, ...
-- flags: allow-oom
redis.call('HSET', key.project(ARGV[1]), unpack(ARGV, 2))
