-- Keeps an API key; it may take the place of another, which then ends.
-- ARGV: id, tenant, scopes, digest, now, expires (ms; '' for never), name,
--       id of the one that ends ('' for none), when it ends (ms)
-- Returns: 1, or 0 if the tenant has no such key to take the place of.
local index, now = key.api_keys(ARGV[2]), ARGV[5]
local old = ARGV[8] ~= '' and key.api_key(ARGV[8])
if old then
  local own = redis.call('HMGET', old, 'tenant', 'expires')
  if own[1] ~= ARGV[2] then return 0 end
  local ends = own[2] and math.min(tonumber(own[2]), tonumber(ARGV[9])) or tonumber(ARGV[9])
  redis.call('HSET', old, 'expires', string.format('%d', ends))
  redis.call('PEXPIREAT', old, string.format('%d', ends))
  redis.call('ZADD', index, string.format('%d', math.max(ends, 1)), ARGV[8])
end
local new = key.api_key(ARGV[1])
redis.call('HSET', new, 'tenant', ARGV[2], 'scopes', ARGV[3], 'digest', ARGV[4], 'created', ARGV[5])
if ARGV[7] ~= '' then redis.call('HSET', new, 'name', ARGV[7]) end
if ARGV[6] ~= '' then
  redis.call('HSET', new, 'expires', ARGV[6])
  redis.call('PEXPIREAT', new, ARGV[6])
end
-- By when they end. Those that never do, and those of a version that did not note it, have no score.
redis.call('ZREMRANGEBYSCORE', index, '(0', now)
redis.call('ZADD', index, ARGV[6] ~= '' and ARGV[6] or 0, ARGV[1])
return 1
