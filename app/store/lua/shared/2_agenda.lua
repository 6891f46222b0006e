-- Agendas: what is due when, in lanes. `lanes` says when each lane is worth a look.
local agenda = {}

-- Puts an id on the agenda, or moves it to another time.
function agenda.schedule(name, lane, id, due)
  redis.call('ZADD', key.due(name, lane), due, id)
  redis.call('ZADD', key.lanes(name), 'LT', due, lane)
end

-- True if the fence is that of the lease in force.
function agenda.holds(name, lane, id, fence)
  return tonumber(redis.call('ZSCORE', key.leased(name, lane), id) or '') == tonumber(fence)
end

-- Takes an id off the agenda, leased or not; its place in the lane is free for what waits there.
function agenda.remove(name, lane, id)
  redis.call('ZREM', key.due(name, lane), id)
  redis.call('ZREM', key.leased(name, lane), id)
  local head = redis.call('ZRANGE', key.due(name, lane), 0, 0, 'WITHSCORES')
  if head[2] then redis.call('ZADD', key.lanes(name), 'LT', head[2], lane) end
end

-- The rate of a lane in force: its own or the one given, below what it has learned from being throttled. What was
-- learned wears off: it doubles in five minutes.
local DOUBLES_MS = 300000
function agenda.rate(name, lane, rate, now)
  local own = redis.call('HMGET', key.lane(name, lane), 'rate', 'learned', 'learned_at')
  rate = tonumber(own[1] or rate)
  if not own[2] then return rate end
  return math.min(rate, tonumber(own[2]) * 2 ^ ((now - tonumber(own[3])) / DOUBLES_MS))
end

-- Makes the dispatcher look now. One mark is enough: it looks at everything.
function agenda.wake(name)
  redis.call('LPUSH', key.wake(name), '1')
  redis.call('LTRIM', key.wake(name), 0, 0)
end
