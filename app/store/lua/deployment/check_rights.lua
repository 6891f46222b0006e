-- Tests a right that every script needs: writing to a key that the call has not declared. The key never exists, so
-- nothing changes.
-- args: unused_key
-- flags: allow-oom
redis.call('DEL', unused_key)
