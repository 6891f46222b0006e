-- Claims due items, lane by lane, beginning with the lane that has waited longest. Claimed items are leased.
-- When more is due than can be claimed, items without a patience go first, then those that have waited longest relative
-- to their patience (shared/4_fairness.lua).
-- args: agenda_name, now (ms), lease_ms, limit,
--       rate (per second, of a lane without its own; 0 is unlimited), burst (seconds, of a lane without its own),
--       concurrency (of a lane without its own)
-- Returns: lane, id, fence, due of each item.
-- The flag makes a Redis that accepts no writes refuse the script even if nothing is due. Without it, an idle worker
-- would stay connected to a primary that has been replaced and does not know it yet.
-- flags: allow-oom
now, limit = tonumber(now), tonumber(limit)
local lanes = redis.call('ZRANGEBYSCORE', key.lanes(agenda_name), '-inf', now, 'LIMIT', 0, limit)
local share = math.ceil(limit / math.max(1, #lanes))
local lease_end = now + tonumber(lease_ms)
local out = {}

local function lease_items(lane, items)
  for _, item in ipairs(items) do
    redis.call('ZREM', key.due(agenda_name, lane), item.id)
    redis.call('ZADD', key.leased(agenda_name, lane), lease_end, item.id)
    for _, value in ipairs({lane, item.id, lease_end, item.due}) do out[#out + 1] = tostring(value) end
  end
  limit = limit - #items
end

-- Serves one lane; returns when to serve it again, nil if it is empty or on hold.
local function serve(lane)
  local hash = key.lane(agenda_name, lane)
  local own = redis.call('HMGET', hash, 'not_before', 'places', 'passed', 'refusals', 'held', 'most')
  if own[5] then return nil end
  local not_before = tonumber(own[1] or '0')
  if not_before > now then return not_before end
  agenda.end_leases(agenda_name, lane, now, limit)
  local rate_now = budget.rate(agenda_name, lane, rate, now)
  local tokens = budget.tokens(agenda_name, lane, rate_now, burst, now)
  -- While the breaker is open, one item is tried and the others wait for its answer.
  local leases = redis.call('ZCARD', key.leased(agenda_name, lane))
  local free = (own[4] and 1 or tonumber(own[2] or own[6] or concurrency)) - leases
  local count, next_due = math.min(limit, share, free, math.floor(tokens)), nil
  if count > 0 then
    local before, items, passed = tonumber(own[3] or '0'), nil, nil
    items, passed, next_due = fairness.take(agenda_name, lane, now, count, before, own[4])
    lease_items(lane, items)
    free, tokens = free - #items, tokens - #items
    if passed ~= before then redis.call('HSET', hash, 'passed', passed) end
  else
    next_due = agenda.next_due(agenda_name, lane)
  end
  if rate_now > 0 then redis.call('HSET', hash, 'tokens', tostring(tokens), 'stamp', now) end
  local first_lease_end = redis.call('ZRANGE', key.leased(agenda_name, lane), 0, 0, 'WITHSCORES')[2]
  next_due = next_due or math.huge
  if free < 1 then next_due = math.huge
  elseif tokens < 1 then next_due = math.max(next_due, now + math.ceil((1 - tokens) * 1000 / rate_now)) end
  local again = math.min(math.max(next_due, now), first_lease_end and tonumber(first_lease_end) or math.huge)
  return again < math.huge and again or nil
end

for _, lane in ipairs(lanes) do
  if limit < 1 then break end
  local again = serve(lane)
  if again then redis.call('ZADD', key.lanes(agenda_name), again, lane)
  else redis.call('ZREM', key.lanes(agenda_name), lane) end
end
return out
