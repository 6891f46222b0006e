-- Hands out what is due, lane by lane, the lane that has waited longest first; what is handed out is leased.
-- ARGV: agenda, now, lease_ms, limit, then of a lane that has none of its own:
--       rate (a second, 0 for no pace), burst (how many seconds' worth), places (most at once)
-- Returns: when the next look is worth it ('' for never), then lane, id, fence, due of each.
local name, now, lease, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local lanes = redis.call('ZRANGEBYSCORE', key.lanes(name), '-inf', now, 'LIMIT', 0, limit)
local share = math.ceil(limit / math.max(1, #lanes))
local out = {''}

local function end_leases(lane)
  local over = redis.call('ZRANGEBYSCORE', key.leased(name, lane), '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #over, 2 do
    redis.call('ZREM', key.leased(name, lane), over[i])
    redis.call('ZADD', key.due(name, lane), over[i + 1], over[i])
  end
end

local function hand_out(lane, count)
  local due = redis.call('ZRANGEBYSCORE', key.due(name, lane), '-inf', now, 'WITHSCORES', 'LIMIT', 0, count)
  for i = 1, #due, 2 do
    redis.call('ZREM', key.due(name, lane), due[i])
    redis.call('ZADD', key.leased(name, lane), now + lease, due[i])
    for _, value in ipairs({lane, due[i], now + lease, due[i + 1]}) do out[#out + 1] = tostring(value) end
  end
  return #due / 2
end

-- Serves one lane; says when it is worth the next look, nil if it is empty.
local function serve(lane)
  local own = redis.call('HMGET', key.lane(name, lane), 'not_before', 'places', 'tokens', 'stamp')
  local not_before = tonumber(own[1] or '0')
  if not_before > now then return not_before end
  end_leases(lane)
  local rate = agenda.rate(name, lane, ARGV[5], now)
  local burst = math.max(1, rate * tonumber(ARGV[6]))
  local free = tonumber(own[2] or ARGV[7]) - redis.call('ZCARD', key.leased(name, lane))
  local tokens = math.huge
  if rate > 0 then
    tokens = math.min(burst, tonumber(own[3] or burst) + math.max(0, now - tonumber(own[4] or now)) * rate / 1000)
  end
  local room = math.min(limit, share, free, math.floor(tokens))
  if room > 0 then
    local taken = hand_out(lane, room)
    limit, free, tokens = limit - taken, free - taken, tokens - taken
  end
  if rate > 0 then redis.call('HSET', key.lane(name, lane), 'tokens', tostring(tokens), 'stamp', now) end
  local head = redis.call('ZRANGE', key.due(name, lane), 0, 0, 'WITHSCORES')[2]
  local lease_end = redis.call('ZRANGE', key.leased(name, lane), 0, 0, 'WITHSCORES')[2]
  local next_due = head and tonumber(head) or math.huge
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
