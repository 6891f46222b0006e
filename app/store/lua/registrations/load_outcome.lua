-- Loads how a job of a registration ended.
-- args: registration, job, state
-- Returns: snapshot (JSON), observed (ms); both false if they have expired.
-- flags: allow-oom
return redis.call('HMGET', key.delivery(ending.delivery_id(registration, job, state)), 'about', 'observed')
