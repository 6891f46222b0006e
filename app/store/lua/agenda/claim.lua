-- Hands out what is due, lane by lane, the lane that has waited longest first; what is handed out is leased.
-- Where not all can be: what has no patience first, then what has waited longest for its patience.
-- ARGV: agenda, now, lease_ms, limit, then of a lane that has none of its own:
--       rate (a second, 0 for no pace), burst (how many seconds' worth), places (most at once)
-- Returns: when the next look is worth it ('' for never), then lane, id, fence, due of each.
-- The flag has Redis refuse it at once where nothing may be written. Without, a worker would find nothing due, and stay, at
-- a primary that was replaced and does not know yet.
-- flags: allow-oom
local name, now, lease, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local lanes = redis.call('ZRANGEBYSCORE', key.lanes(name), '-inf', now, 'LIMIT', 0, limit)
local share = math.ceil(limit / math.max(1, #lanes))
local out = {''}

local function hand_out(lane, items)
  for _, item in ipairs(items) do
    redis.call('ZREM', key.due(name, lane), item.id)
    redis.call('ZADD', key.leased(name, lane), now + lease, item.id)
    for _, value in ipairs({lane, item.id, now + lease, item.due}) do out[#out + 1] = tostring(value) end
  end
  limit = limit - #items
end

-- Serves one lane; says when it is worth the next look, nil if it is empty.
local function serve(lane)
  local own = redis.call('HMGET', key.lane(name, lane), 'not_before', 'places', 'passed', 'refusals', 'held', 'most')
  if own[5] then return nil end
  local not_before = tonumber(own[1] or '0')
  if not_before > now then return not_before end
  agenda.end_leases(name, lane, now, limit)
  local rate = budget.rate(name, lane, ARGV[5], now)
  local tokens = budget.tokens(name, lane, rate, ARGV[6], now)
  -- After a refusal one goes ahead and the others wait for its answer.
  local free = (own[4] and 1 or tonumber(own[2] or own[6] or ARGV[7])) - redis.call('ZCARD', key.leased(name, lane))
  local room, next_due = math.min(limit, share, free, math.floor(tokens)), nil
  if room > 0 then
    local before, items, passed = tonumber(own[3] or '0'), nil, nil
    items, passed, next_due = turns.take(name, lane, now, room, before, own[4])
    hand_out(lane, items)
    free, tokens = free - #items, tokens - #items
    if passed ~= before then redis.call('HSET', key.lane(name, lane), 'passed', passed) end
  else
    next_due = agenda.next_due(name, lane)
  end
  if rate > 0 then redis.call('HSET', key.lane(name, lane), 'tokens', tostring(tokens), 'stamp', now) end
  local lease_end = redis.call('ZRANGE', key.leased(name, lane), 0, 0, 'WITHSCORES')[2]
  next_due = next_due or math.huge
  if free < 1 then next_due = math.huge
  elseif tokens < 1 then next_due = math.max(next_due, now + math.ceil((1 - tokens) * 1000 / rate)) end
  local look = math.min(math.max(next_due, now), lease_end and tonumber(lease_end) or math.huge)
  return look < math.huge and look or nil
end

for _, lane in ipairs(lanes) do
  if limit < 1 then break end
  local look = serve(lane)
  if look then redis.call('ZADD', key.lanes(name), look, lane) else redis.call('ZREM', key.lanes(name), lane) end
end
out[1] = redis.call('ZRANGE', key.lanes(name), 0, 0, 'WITHSCORES')[2] or ''
return out
