-- Tries what all scripts need: to write to a key that the call has not named. There is no such key: nothing changes.
-- ARGV: none
-- flags: allow-oom
redis.call('DEL', key.fit())
