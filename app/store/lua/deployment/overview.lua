-- Returns statistics of the whole deployment, for metrics. The cost is bounded, whatever the size.
-- args: now (ms), lane_limit (lanes of each kind that are examined), agenda_names...
-- Returns: watching registrations; dead deliveries; failing, paused and disabled destinations; deliveries on hold; for
--          how long (ms) a destination with deliveries has been on hold, and failing, at most; then for each agenda: due items, and for how long (ms) the oldest claimable item has waited. Each lane beyond
--          the limit that is to be served now counts as one due item.
-- flags: allow-oom
now, lane_limit = tonumber(now), tonumber(lane_limit)

-- Returns the deliveries of the lanes in a state, and for how long (ms) the first of these lanes has been in it. field: of
-- the lane, since when (ms). except: a field that takes a lane out.
local function waiting(state, field, except)
  local total, longest = 0, 0
  for _, lane in ipairs(redis.call('SRANDMEMBER', key.lanes_in_state(state), lane_limit)) do
    local own = redis.call('HMGET', key.lane('deliver', lane), field, except or field)
    if not except or not own[2] then
      local count = redis.call('ZCARD', key.due('deliver', lane)) + redis.call('ZCARD', key.leased('deliver', lane))
      total = total + count
      if count > 0 then longest = math.max(longest, now - guard.number(own[1], now)) end
    end
  end
  return total, longest
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
local paused, paused_for = waiting('paused', 'held')
local disabled, disabled_for = waiting('disabled', 'held')
local _, failing_for = waiting('failing', 'failing_since', 'held')
out[#out + 1] = paused + disabled
out[#out + 1] = math.max(paused_for, disabled_for)
out[#out + 1] = failing_for
for _, name in ipairs(agenda_names) do
  local due, late = backlog(name)
  out[#out + 1] = due
  out[#out + 1] = late
end
return out
