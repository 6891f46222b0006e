-- What a tenant has: how much of what its quotas bound, and the feed of its events.
local tenancy = {}

-- what: 'registrations' that are watching, or 'deliveries' that are pending.
function tenancy.count(tenant, what, by) redis.call('HINCRBY', key.tenant_counts(tenant), what, by) end

-- A registration is watched no more; to be called before its state says so.
function tenancy.watched(progress)
  local own = redis.call('HMGET', progress, 'tenant', 'state')
  if own[1] and not own[2] then tenancy.count(own[1], 'registrations', -1) end
end

-- A pending delivery of a registration more or less.
function tenancy.owes(progress, by)
  local tenant = redis.call('HGET', progress, 'tenant')
  if tenant then tenancy.count(tenant, 'deliveries', by) end
end

-- Nobody is called for a registration whose lane names no destination: its events are for the feed alone.
function tenancy.pulls(lane) return string.sub(lane, -1) == ' ' end

-- What a registration to a destination ('' for none) would be one too many of, nil if of nothing.
-- quotas: the most registrations, destinations and deliveries; 0 is unbounded.
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

-- Puts an event into the feed, by Redis' own clock: a later event is behind all earlier ones, also after a failover that
-- has lost the last of them. The delivery says what it is about, so that nothing is kept twice.
function tenancy.tell(tenant, delivery, now, keep_s)
  local feed = key.feed(tenant)
  local oldest = string.format('%d', math.max(0, now - keep_s * 1000))
  redis.call('XADD', feed, 'MINID', '~', oldest, '*', 'd', string.sub(delivery, 5))
  redis.call('EXPIRE', feed, keep_s)
end
