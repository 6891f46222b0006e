-- A tenant's usage, which its quotas limit, and its feed of events.
local tenancy = {}

-- Changes one of a tenant's counts. what: 'registrations' (watching), 'jobs' (of these, that have not ended) or
-- 'deliveries' (pending).
function tenancy.count(tenant, what, by)
  counts.note(tenant, by)
  if redis.call('HINCRBY', key.tenant_counts(tenant), what, by) < 0 then
    redis.call('HSET', key.tenant_counts(tenant), what, 0) -- what an earlier version registered was not counted
  end
end

-- Counts a registration, and its open jobs, as no longer watching. Call it before the state changes.
function tenancy.count_stopped(progress)
  local own = redis.call('HMGET', progress, 'tenant', 'state', 'open')
  if own[1] and not own[2] then
    tenancy.count(own[1], 'registrations', -1)
    local open = guard.number(own[3], 0)
    if open > 0 then tenancy.count(own[1], 'jobs', -open) end
  end
end

-- Changes the number of a registration's open jobs. Returns the new number.
function tenancy.count_open(progress, by)
  local tenant = redis.call('HGET', progress, 'tenant')
  if tenant then tenancy.count(tenant, 'jobs', by) end
  return redis.call('HINCRBY', progress, 'open', by)
end

-- Changes the tenant's count of pending deliveries, for one registration.
function tenancy.count_pending(progress, by)
  local tenant = redis.call('HGET', progress, 'tenant')
  if tenant then tenancy.count(tenant, 'deliveries', by) end
end

-- True for a lane that names no destination: the registration has no callback, and its events go into the feed only.
function tenancy.has_no_callback(lane) return string.sub(lane, -1) == constant.LANE_SEPARATOR end

-- The quota that one more registration with so many jobs and this destination ('' for none) would exceed; nil if there
-- is none. quotas: registrations, jobs, destinations and deliveries; 0 is unlimited.
function tenancy.exceeded_quota(tenant, new_jobs, destination, quotas)
  local registrations, jobs, destinations, deliveries = string.match(quotas, '(%d+) (%d+) (%d+) (%d+)')
  local counts = redis.call('HMGET', key.tenant_counts(tenant), 'registrations', 'deliveries', 'jobs')
  local function is_reached(quota, count) return quota ~= '0' and guard.number(count, 0) >= tonumber(quota) end
  if is_reached(registrations, counts[1]) then return 'registrations' end
  if is_reached(jobs, guard.number(counts[3], 0) + new_jobs - 1) then return 'jobs' end
  if is_reached(deliveries, counts[2]) then return 'deliveries' end
  if destination == '' then return end
  local index = key.destinations(tenant)
  if is_reached(destinations, redis.call('ZCARD', index)) and not redis.call('ZSCORE', index, destination) then
    return 'destinations'
  end
end

-- A registration waits for a job, or for all jobs of a request, whose hash is given. since: value of its field.
function tenancy.wait(hash, registration, tenant, since)
  if redis.call('HSET', hash, registration, since) == 1 then redis.call('HINCRBY', hash, 'by:' .. tenant, 1) end
end

-- It waits no more. Returns false if it did not wait.
function tenancy.stop_waiting(hash, registration)
  if redis.call('HDEL', hash, registration) == 0 then return false end
  local field = 'by:' .. (redis.call('HGET', key.progress(registration), 'tenant') or '')
  if redis.call('HINCRBY', hash, field, -1) < 1 then redis.call('HDEL', hash, field) end
  return true
end

-- True if as many registrations of the tenant wait for the job, or the request, as may: its end is told to all of them
-- in one step, and each list of the request is compared with all of them.
local MOST_OF_JOB, MOST_OF_REQUEST = 1000, 100
function tenancy.is_crowded(tenant, project, jobs, request)
  for _, job in ipairs(jobs) do
    local own = redis.call('HMGET', key.watch(project, job), 'by:' .. tenant, 'job')
    if guard.number(own[1], 0) >= MOST_OF_JOB and not own[2] then return true end
  end
  local hash = key.request(project, request)
  return request ~= '' and guard.number(redis.call('HGET', hash, 'by:' .. tenant), 0) >= MOST_OF_REQUEST
end

-- Appends an event to the feed, numbered by Redis' own clock: a later event gets a higher number than all earlier ones,
-- even if a failover has lost some of them. The entry names the delivery, which has the content, so that nothing is
-- stored twice.
function tenancy.publish(tenant, delivery, now, keep_s)
  local feed = key.feed(tenant)
  local oldest = string.format('%d', math.max(0, now - keep_s * 1000))
  redis.call('XADD', feed, 'MINID', '~', oldest, '*', 'd', string.sub(delivery, 5))
  redis.call('EXPIRE', feed, keep_s)
end
