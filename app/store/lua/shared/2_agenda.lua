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

-- Makes the dispatcher look now. One mark is enough: it looks at everything.
function agenda.wake(name)
  redis.call('LPUSH', key.wake(name), '1')
  redis.call('LTRIM', key.wake(name), 0, 0)
end
