-- Takes a part of a tenant's request quota for one minute.
-- args: tenant, window (number of the minute), wanted, quota
-- Returns: how many requests are granted; how many have been taken in the window, these included.
-- flags: allow-oom
local taken = key.taken(tenant, window)
local total = guard.number(redis.call('GET', taken), 0)
local granted = math.max(0, math.min(tonumber(wanted), tonumber(quota) - total))
if granted > 0 then redis.call('SET', taken, total + granted, 'EX', 120) end
return {granted, total + granted}
