-- Returns statistics of the whole deployment, for metrics. The cost is bounded, whatever the size.
-- args: now (ms), lane_limit (lanes of each kind that are examined), agenda_names...
-- Returns: watching registrations; dead deliveries; failing, paused and disabled destinations; deliveries on hold; then
--          for each agenda: due items, and for how long (ms) the oldest claimable item has waited. Each lane beyond
--          the limit that is to be served now counts as one due item.
-- flags: allow-oom
now, lane_limit = tonumber(now), tonumber(lane_limit)

local function on_hold(state)
  local total = 0
  for _, lane in ipairs(redis.call('SRANDMEMBER', key.lanes_in_state(state), lane_limit)) do
    total = total + redis.call('ZCARD', key.due('deliver', lane)) + redis.call('ZCARD', key.leased('deliver', lane))
  end
  return total
end

-- How long (ms) a lane's first item has waited for a worker, without the time during which the rate limit blocked it.
local function waited(name, lane, served_at, tokens)
  local due = agenda.next_due(name, lane)
  if served_at > now or not due then return 0 end
  if guard.number(tokens, 1) < 1 then due = math.max(due, served_at) end
  return due > 0 and math.max(0, now - due) or 0
end

local function backlog(name)
  local due, late = 0, 0
  local lanes = redis.call('ZRANGE', key.lanes(name), 0, lane_limit - 1, 'WITHSCORES')
  for i = 1, #lanes, 2 do
    local lane = lanes[i]
    local own = redis.call('HMGET', key.lane(name, lane), 'held', 'not_before', 'refusals', 'tokens')
    if not own[1] and not own[3] and guard.number(own[2], 0) <= now then
      due = due + agenda.count_due(name, lane, now)
      late = math.max(late, waited(name, lane, tonumber(lanes[i + 1]), own[4]))
    end
  end
  return due + math.max(0, redis.call('ZCOUNT', key.lanes(name), '-inf', now) - lane_limit), late
end

local out = {redis.call('ZCARD', key.deadlines()), redis.call('ZCOUNT', key.dead(), '(' .. now, '+inf')}
for _, state in ipairs({'failing', 'paused', 'disabled'}) do
  out[#out + 1] = redis.call('SCARD', key.lanes_in_state(state))
end
out[#out + 1] = on_hold('paused') + on_hold('disabled')
for _, name in ipairs(agenda_names) do
  local due, late = backlog(name)
  out[#out + 1] = due
  out[#out + 1] = late
end
return out
