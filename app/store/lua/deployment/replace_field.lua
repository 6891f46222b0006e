-- Replaces a field of a hash, unless it has changed since it was read.
-- args: name (of the key), field, old, new
-- Returns: 1; 0 if it has changed.
if redis.call('HGET', name, field) ~= old then return 0 end
redis.call('HSET', name, field, new)
return 1
