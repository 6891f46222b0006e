-- Sends a delivery once more, whether it has arrived, is dead or is only late.
-- ARGV: now, id, tenant
-- Returns: 'pending', 'cancelled' if nothing may be sent any more, false if the tenant has no such delivery.
local now, id = ARGV[1], ARGV[2]
local own = redis.call('HMGET', key.delivery(id), 'tenant', 'registration', 'lane', 'state')
if own[1] ~= ARGV[3] then return false end
if not redelivery.allowed(own[2], own[4]) then return 'cancelled' end
redelivery.schedule(id, own[2], own[3], own[4], now)
agenda.wake('deliver')
return 'pending'
