-- Stores an API key. It may replace another key, which then expires at `replaced_expires` at the latest.
-- `expires` is by the deployment's time; Redis deletes the key later, by its own clock, which may have leapt.
-- args: id, tenant, scopes, digest, now (ms), expires (ms; '' for never), name,
--       replaces (id; '' for none), replaced_expires (ms)
-- Returns: 1, or 0 if the tenant has no key with the id `replaces`.
local index = key.api_keys(tenant)
local function delete_after(name, moment)
  redis.call('PEXPIREAT', name, string.format('%d', moment + constant.LEAP_MARGIN_MS))
end
local old = replaces ~= '' and key.api_key(replaces)
if old then
  local own = redis.call('HMGET', old, 'tenant', 'expires')
  if own[1] ~= tenant then return 0 end
  local ends = math.min(guard.number(own[2], math.huge), tonumber(replaced_expires))
  redis.call('HSET', old, 'expires', string.format('%d', ends))
  if ends == 0 then redis.call('DEL', old) else delete_after(old, ends) end
  redis.call('ZADD', index, string.format('%d', math.max(ends, 1)), replaces)
end
local new = key.api_key(id)
redis.call('HSET', new, 'tenant', tenant, 'scopes', scopes, 'digest', digest, 'created', now)
if name ~= '' then redis.call('HSET', new, 'name', name) end
if expires ~= '' then
  redis.call('HSET', new, 'expires', expires)
  delete_after(new, expires)
end
-- The score is when a key expires (ms); 0 for keys that never expire, and for those of a version without this score.
redis.call('ZREMRANGEBYSCORE', index, '(0', now)
redis.call('ZADD', index, expires ~= '' and expires or 0, id)
return 1
