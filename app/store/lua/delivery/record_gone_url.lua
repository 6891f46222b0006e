-- Records that a URL has answered 410, or deletes that record because the URL is called again.
-- args: tenant, now (ms; '' deletes the record), keep_s,
--       digests... (of the URL, by each key; the first key's is written)
-- flags: allow-oom
local gone = key.gone(tenant)
if now == '' then
  redis.call('ZREM', gone, unpack(digests))
  return
end
redis.call('ZADD', gone, now, digests[1])
redis.call('ZREMRANGEBYSCORE', gone, '-inf', now - keep_s * 1000)
redis.call('EXPIRE', gone, keep_s)
