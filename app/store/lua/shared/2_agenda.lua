-- Agendas: what is due when, in lanes. `lanes` says when each lane is worth a look.
-- In a lane, ids stand in classes by how long they can bear to wait: class 0 goes first, the others have a patience of
-- 1 s, 2 s, 4 s and so on. A score is that of the class, then the due time (ms), so one sorted set holds them all.
local agenda = {}
local CLASS, LAST_CLASS = 1e13, 9 -- milliseconds that no clock reaches before 2286

function agenda.patience(class) return 1000 * 2 ^ (class - 1) end

local function class_of(patience)
  if not patience then return 0 end
  return math.min(1 + math.max(0, math.ceil(math.log(patience / 1000) / math.log(2))), LAST_CLASS)
end

-- Puts an id on the agenda, or moves it to another time. What says no patience (ms) goes before what does.
function agenda.schedule(name, lane, id, due, patience)
  redis.call('ZADD', key.due(name, lane), class_of(patience) * CLASS + due, id)
  redis.call('ZADD', key.lanes(name), 'LT', due, lane)
end

-- True if it is on the agenda, leased or not.
function agenda.has(name, lane, id)
  return redis.call('ZSCORE', key.due(name, lane), id) or redis.call('ZSCORE', key.leased(name, lane), id)
end

-- The classes in which something waits, each with its first ids, up to `count`: {class = …, items = {{id = …, due = …}, …}}
-- `after` leaves out those of class 0 that are due by then.
function agenda.classes(name, lane, count, after)
  local classes, from = {}, after and '(' .. after or '-inf'
  while true do
    local found = redis.call('ZRANGEBYSCORE', key.due(name, lane), from, '+inf', 'WITHSCORES', 'LIMIT', 0, count)
    if not found[1] then return classes end
    local class, items = math.floor(found[2] / CLASS), {}
    from = (class + 1) * CLASS
    for i = 1, #found, 2 do
      if tonumber(found[i + 1]) >= from then break end
      items[#items + 1] = {id = found[i], due = found[i + 1] - class * CLASS}
    end
    classes[#classes + 1] = {class = class, items = items}
  end
end

-- When the first id of a lane is due, nil if there is none.
function agenda.next_due(name, lane)
  local first
  for _, class in ipairs(agenda.classes(name, lane, 1)) do first = math.min(first or math.huge, class.items[1].due) end
  return first
end

-- How many ids of a lane are due and in nobody's hands.
function agenda.count_due(name, lane, now)
  local last = redis.call('ZRANGE', key.due(name, lane), -1, -1, 'WITHSCORES')[2]
  local count = redis.call('ZCOUNT', key.leased(name, lane), '-inf', now)
  for class = 0, last and math.floor(last / CLASS) or -1 do
    count = count + redis.call('ZCOUNT', key.due(name, lane), class * CLASS, class * CLASS + now)
  end
  return count
end

-- True if the fence is that of the lease in force.
function agenda.holds(name, lane, id, fence)
  return tonumber(redis.call('ZSCORE', key.leased(name, lane), id) or '') == tonumber(fence)
end

-- Takes an id off the agenda, leased or not; its place in the lane is free for what waits there.
function agenda.remove(name, lane, id)
  redis.call('ZREM', key.due(name, lane), id)
  redis.call('ZREM', key.leased(name, lane), id)
  local due = agenda.next_due(name, lane)
  if due then redis.call('ZADD', key.lanes(name), 'LT', due, lane) end
end

-- What is leased no longer is due again. Nobody said how it went: it goes before what has a patience.
function agenda.end_leases(name, lane, now, limit)
  local over = redis.call('ZRANGEBYSCORE', key.leased(name, lane), '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #over, 2 do
    redis.call('ZREM', key.leased(name, lane), over[i])
    redis.call('ZADD', key.due(name, lane), over[i + 1], over[i])
  end
end

-- Keeps a lane from being served before a moment (ms). A longer pause stands.
function agenda.pause(name, lane, till)
  if tonumber(redis.call('HGET', key.lane(name, lane), 'not_before') or '0') < till then
    redis.call('HSET', key.lane(name, lane), 'not_before', till)
  end
end

-- Makes the dispatcher look now. One mark is enough: it looks at everything.
function agenda.wake(name)
  if redis.call('EXISTS', key.wake(name)) == 0 then redis.call('LPUSH', key.wake(name), '1') end
end
