-- Schedules a delivery to be sent again, whether it is delivered, dead or still pending.
-- args: now (ms), id, tenant
-- Returns: 'pending'; 'cancelled' if it or its registration is cancelled; false if the tenant has no such delivery.
local own = redis.call('HMGET', key.delivery(id), 'tenant', 'registration', 'lane', 'state')
if own[1] ~= tenant then return false end
if not redelivery.allowed(own[2], own[4]) then return 'cancelled' end
redelivery.schedule(id, own[2], own[3], own[4], now)
agenda.wake('deliver')
return 'pending'
