-- A URL has answered 410, or is called again.
-- ARGV: tenant, now ('' if it is called again), keep_s, digest of the URL by each key, the one that writes first
-- flags: allow-oom
local gone, now, keep_s = key.gone(ARGV[1]), ARGV[2], ARGV[3]
if now == '' then
  redis.call('ZREM', gone, unpack(ARGV, 4))
  return
end
redis.call('ZADD', gone, now, ARGV[4])
redis.call('ZREMRANGEBYSCORE', gone, '-inf', now - keep_s * 1000)
redis.call('EXPIRE', gone, keep_s)
