-- Replaces counts that could not be read by what a reconciliation has counted.
-- args: values... (name as in reconcile.lua, count)
-- flags: allow-oom
for i = 1, #values, 2 do
  local tenant, what = string.match(values[i], '^tenant:(%S+) (.*)$')
  if tenant then redis.call('HSET', key.tenant_counts(tenant), what, values[i + 1])
  else redis.call('HSET', key.counts(), values[i], values[i + 1]) end
end
