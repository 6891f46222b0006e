-- Records when an API key was used, at most once a minute.
-- args: id, now (ms)
-- flags: allow-oom
local own = redis.call('HMGET', key.api_key(id), 'tenant', 'used')
if own[1] and guard.number(own[2], 0) + 60000 <= tonumber(now) then
  redis.call('HSET', key.api_key(id), 'used', now)
end
