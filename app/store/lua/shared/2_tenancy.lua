-- A tenant's usage, which its quotas limit, and its feed of events.
local tenancy = {}

-- what: 'registrations' (watching) or 'deliveries' (pending).
function tenancy.count(tenant, what, by) redis.call('HINCRBY', key.tenant_counts(tenant), what, by) end

-- A registration stops watching. To be called before its state changes.
function tenancy.watched(progress)
  local own = redis.call('HMGET', progress, 'tenant', 'state')
  if own[1] and not own[2] then tenancy.count(own[1], 'registrations', -1) end
end

-- The number of pending deliveries of a registration changes.
function tenancy.owes(progress, by)
  local tenant = redis.call('HGET', progress, 'tenant')
  if tenant then tenancy.count(tenant, 'deliveries', by) end
end

-- A registration whose lane names no destination has no callback: its events go into the feed only.
function tenancy.pulls(lane) return string.sub(lane, -1) == constant.LANE_SEPARATOR end

-- The quota that one more registration with this destination ('' for none) would exceed, nil if none.
-- quotas: registrations, destinations and deliveries; 0 is unlimited.
function tenancy.full(tenant, destination, quotas)
  local registrations, destinations, deliveries = string.match(quotas, '(%d+) (%d+) (%d+)')
  local counts = redis.call('HMGET', key.tenant_counts(tenant), 'registrations', 'deliveries')
  local function reached(quota, count) return quota ~= '0' and tonumber(count or 0) >= tonumber(quota) end
  if reached(registrations, counts[1]) then return 'registrations' end
  if reached(deliveries, counts[2]) then return 'deliveries' end
  if destination == '' then return end
  local index = key.destinations(tenant)
  if reached(destinations, redis.call('ZCARD', index)) and not redis.call('ZSCORE', index, destination) then
    return 'destinations'
  end
end

-- Appends an event to the feed, by Redis' own clock: a later event comes after all earlier ones, even if a failover has
-- lost the last of these. The entry names the delivery, which has the content, so that nothing is stored twice.
function tenancy.publish(tenant, delivery, now, keep_s)
  local feed = key.feed(tenant)
  local oldest = string.format('%d', math.max(0, now - keep_s * 1000))
  redis.call('XADD', feed, 'MINID', '~', oldest, '*', 'd', string.sub(delivery, 5))
  redis.call('EXPIRE', feed, keep_s)
end
