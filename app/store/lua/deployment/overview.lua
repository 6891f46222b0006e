-- What is true of the whole deployment, for metrics: of bounded cost, whatever the size.
-- ARGV: now, how many lanes of each kind to look at, agendas...
-- Returns: registrations that are watching; deliveries that are dead; destinations that are failing, paused, disabled;
--          deliveries of those that are held; then of each agenda: how many are due, for how long (ms) the oldest that a
--          worker might have taken has waited. Of lanes beyond those looked at, each that is worth a look counts as one
--          that is due.
-- flags: allow-oom
local now, most = tonumber(ARGV[1]), tonumber(ARGV[2])

local function held(state)
  local total = 0
  for _, lane in ipairs(redis.call('SRANDMEMBER', key.lanes_that_are(state), most)) do
    total = total + redis.call('ZCARD', key.due('deliver', lane)) + redis.call('ZCARD', key.leased('deliver', lane))
  end
  return total
end

-- What its pace has held back has waited for a worker only since the pace lets it go, which is when a look is worth it.
local function waited(name, lane, look, tokens)
  local due = agenda.next_due(name, lane)
  if look > now or not due then return 0 end
  if tonumber(tokens or '1') < 1 then due = math.max(due, look) end
  return due > 0 and math.max(0, now - due) or 0
end

local function backlog(name)
  local due, late = 0, 0
  local lanes = redis.call('ZRANGE', key.lanes(name), 0, most - 1, 'WITHSCORES')
  for i = 1, #lanes, 2 do
    local lane = lanes[i]
    local own = redis.call('HMGET', key.lane(name, lane), 'held', 'not_before', 'refusals', 'tokens')
    if not own[1] and not own[3] and tonumber(own[2] or '0') <= now then
      due = due + agenda.count_due(name, lane, now)
      late = math.max(late, waited(name, lane, tonumber(lanes[i + 1]), own[4]))
    end
  end
  return due + math.max(0, redis.call('ZCOUNT', key.lanes(name), '-inf', now) - most), late
end

local out = {redis.call('ZCARD', key.deadlines()), redis.call('ZCOUNT', key.dead(), '(' .. now, '+inf')}
for _, state in ipairs({'failing', 'paused', 'disabled'}) do
  out[#out + 1] = redis.call('SCARD', key.lanes_that_are(state))
end
out[#out + 1] = held('paused') + held('disabled')
for i = 3, #ARGV do
  local due, late = backlog(ARGV[i])
  out[#out + 1] = due
  out[#out + 1] = late
end
return out
