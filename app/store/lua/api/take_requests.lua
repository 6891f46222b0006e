-- Takes some of the requests that a tenant may make in a window.
-- ARGV: tenant, number of the window, how many, quota
-- Returns: how many there were, and how many are taken of the window now.
-- flags: allow-oom
local taken = key.taken(ARGV[1], ARGV[2])
local total = tonumber(redis.call('GET', taken) or '0')
local granted = math.max(0, math.min(tonumber(ARGV[3]), tonumber(ARGV[4]) - total))
if granted > 0 then redis.call('SET', taken, total + granted, 'EX', 120) end
return {granted, total + granted}
