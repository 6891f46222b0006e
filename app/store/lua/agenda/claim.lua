-- Claims due items, lane by lane, beginning with the lane that has waited longest. Claimed items are leased.
-- In a project's lane tenants take turns (shared/1_turns.lua). When more is due than can be claimed, items without a
-- patience go first, then those that have waited longest relative to their patience (shared/4_fairness.lua).
-- A tenant gets at most half of the threads that the others leave, so that one is free when another has work.
-- args: agenda_name, now (ms), lease_ms, limit (threads that are free),
--       rate (per second, of a lane without its own; 0 is unlimited), burst (seconds, of a lane without its own),
--       concurrency (of a lane without its own), running... (for each busy thread, the tenant that it works for)
-- Returns: tenant, lane, id, fence, due of each item.
-- The flag makes a Redis that accepts no writes refuse the script even if nothing is due. Without it, an idle worker
-- would stay connected to a primary that has been replaced and does not know it yet.
-- flags: allow-oom
local MOST_LANES, SOON_MS = 500, 100 -- lanes examined in a call; until a tenant without free threads is examined again
now, limit = tonumber(now), tonumber(limit)
local lanes = redis.call('ZRANGEBYSCORE', key.lanes(agenda_name), '-inf', now, 'LIMIT', 0, MOST_LANES)
local lease_end = now + tonumber(lease_ms)
local out, used = {}, {}
for _, tenant in ipairs(running) do used[tenant] = (used[tenant] or 0) + 1 end

-- How many threads a tenant may take.
local function room(tenant)
  local own = used[tenant] or 0
  return math.ceil((limit + own) / 2) - own
end

-- The items that a lane may get: an even share of the threads that its tenant, or for a project anyone, may take.
local lanes_of = {}
for _, lane in ipairs(lanes) do
  local tenant = agenda.tenant_of(agenda_name, lane) or ''
  lanes_of[tenant] = (lanes_of[tenant] or 0) + 1
end
local shares = {}
for tenant, count in pairs(lanes_of) do
  shares[tenant] = math.ceil((agenda.is_shared(agenda_name) and limit or room(tenant)) / count)
end

-- Leases an item; false if it is not due any more.
local function lease(tenant, lane, item)
  if redis.call('ZREM', key.due(agenda_name, lane), item.id) == 0 then return false end
  redis.call('ZADD', key.leased(agenda_name, lane), lease_end, item.id)
  for _, value in ipairs({tenant, lane, item.id, lease_end, item.due}) do out[#out + 1] = tostring(value) end
  limit, used[tenant] = limit - 1, (used[tenant] or 0) + 1
  return true
end

-- Leases up to `count` items of one tenant. Returns how many. due: key of the sorted set.
local function take(tenant, lane, due, count, by_age)
  local hash, field = key.lane(agenda_name, lane), 'passed'
  if due ~= key.due(agenda_name, lane) then field = 'passed:' .. tenant end
  local before = guard.number(redis.call('HGET', hash, field), 0)
  local passed, leased, items = before, 0, nil
  repeat
    items, passed = fairness.take(due, now, count - leased, passed, by_age)
    for _, item in ipairs(items) do
      local score = redis.call('ZSCORE', key.due(agenda_name, lane), item.id)
      -- An older version moves an item without its tenants' sets.
      if score and score ~= redis.call('ZSCORE', due, item.id) then redis.call('ZADD', due, score, item.id)
      else
        if lease(tenant, lane, item) then leased = leased + 1 end
        redis.call('ZREM', due, item.id)
      end
    end
  until leased == count or not items[1]
  if passed ~= before then redis.call('HSET', hash, field, passed) end
  return leased
end

-- Leases up to `count` items of a project, in turns. Returns how many.
local function take_in_turns(lane, count, by_age)
  local order, leased, refused = turns.in_order(lane, now), 0, false
  for i, one in ipairs(order) do
    local most = math.min(math.ceil((count - leased) / (#order - i + 1)), room(one.tenant))
    local taken = most > 0 and take(one.tenant, lane, one.due, most, by_age) or 0
    if taken > 0 then turns.served(lane, one.tenant, now) end
    leased, refused = leased + taken, refused or room(one.tenant) < 1
  end
  -- What is due may be in no tenant's set, although as many items are in two.
  if leased == 0 and not refused then
    leased = take('', lane, key.due(agenda_name, lane), math.min(count, room('')), by_age)
  end
  return leased
end

-- Serves one lane; returns when to serve it again, nil if it is empty or on hold. tenant: nil for a project's lane.
local function serve(lane, tenant)
  local hash = key.lane(agenda_name, lane)
  local own = redis.call('HMGET', hash, 'not_before', 'places', 'refusals', 'held', 'most')
  if own[4] then return nil end
  local not_before = guard.number(own[1], 0)
  if not_before > now then return not_before end
  agenda.end_leases(agenda_name, lane, now, limit)
  local rate_now = budget.rate(agenda_name, lane, rate, now)
  local tokens = budget.tokens(agenda_name, lane, rate_now, burst, now)
  -- While the breaker is open, one item is tried and the others wait for its answer.
  local leases = redis.call('ZCARD', key.leased(agenda_name, lane))
  local free = (own[3] and 1 or math.max(1, guard.number(own[2] or own[5], tonumber(concurrency)))) - leases
  local count = math.min(limit, shares[tenant or ''], free, math.floor(tokens), tenant and room(tenant) or limit)
  if count > 0 then
    local leased = tenant and take(tenant, lane, key.due(agenda_name, lane), count, own[3])
      or take_in_turns(lane, count, own[3])
    free, tokens = free - leased, tokens - leased
  end
  if rate_now > 0 then redis.call('HSET', hash, 'tokens', tostring(tokens), 'stamp', now) end
  local first_lease_end = redis.call('ZRANGE', key.leased(agenda_name, lane), 0, 0, 'WITHSCORES')[2]
  local next_due = agenda.next_due(agenda_name, lane) or math.huge
  if free < 1 then next_due = math.huge
  elseif tokens < 1 then next_due = math.max(next_due, now + math.ceil((1 - tokens) * 1000 / rate_now)) end
  local again = math.min(math.max(next_due, now), first_lease_end and tonumber(first_lease_end) or math.huge)
  return again < math.huge and again or nil
end

for _, lane in ipairs(lanes) do
  if limit < 1 then break end
  local tenant = agenda.tenant_of(agenda_name, lane)
  if not tenant or room(tenant) > 0 then
    local function serve_it()
      local again = serve(lane, tenant)
      if again then redis.call('ZADD', key.lanes(agenda_name), again, lane)
      else redis.call('ZREM', key.lanes(agenda_name), lane) end
    end
    guard.item(lane, serve_it, function() redis.call('ZREM', key.lanes(agenda_name), lane) end)
  elseif #lanes == MOST_LANES then -- other lanes may stand behind: the next call begins with them
    redis.call('ZADD', key.lanes(agenda_name), now + SOON_MS, lane)
  end
end
return out
