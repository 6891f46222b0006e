-- Stores the health of a CPH project, as a poll worker has just seen it.
-- args: project, fields... (field, value)
-- flags: allow-oom
redis.call('HSET', key.project(project), unpack(fields))
