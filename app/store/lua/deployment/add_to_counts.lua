-- Corrects counts.
-- args: values... (name as in reconcile.lua, what to add)
-- Returns: what each count is now.
-- flags: allow-oom
local out = {}
for i = 1, #values, 2 do
  local tenant, field = string.match(values[i], '^tenant:(%S+) (.*)$')
  local name = tenant and key.tenant_counts(tenant) or key.counts()
  out[#out + 1] = redis.call('HINCRBY', name, field or values[i], values[i + 1])
end
return out
