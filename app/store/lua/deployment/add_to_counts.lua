-- Corrects counts.
-- args: values... (name as in reconcile.lua, what to add)
-- Returns: what each count is now, and by how much its tenant's or the deployment's have changed so far (numbers...).
-- flags: allow-oom
local out = {}
for i = 1, #values, 2 do
  local tenant, field = string.match(values[i], '^tenant:(%S+) (.*)$')
  local name = tenant and key.tenant_counts(tenant) or key.counts()
  out[#out + 1] = redis.call('HINCRBY', name, field or values[i], values[i + 1])
  out[#out + 1] = guard.number(redis.call('HGET', key.count_changes(), tenant or ''), 0)
end
return out
