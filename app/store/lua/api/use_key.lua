-- An API key was shown: when, to the minute, so that it is not written all the time.
-- ARGV: id, now
-- flags: allow-oom
local own = redis.call('HMGET', key.api_key(ARGV[1]), 'tenant', 'used')
if own[1] and tonumber(own[2] or '0') + 60000 <= tonumber(ARGV[2]) then
  redis.call('HSET', key.api_key(ARGV[1]), 'used', ARGV[2])
end
