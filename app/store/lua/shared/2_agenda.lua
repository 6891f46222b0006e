-- Agendas: which item is due when, in lanes. `lanes` has the time from which serving each lane may yield an item.
-- In a lane, items are in classes by their patience: how long they can wait. Class 0 has none and goes first; the
-- others have a patience of 1 s, 2 s, 4 s and so on. A score is the class, then the due time (ms): one sorted set
-- for all.
local agenda = {}
-- The lanes of projects are shared by tenants, who take turns (1_turns.lua); a destination belongs to one tenant.
function agenda.is_shared(name) return name == 'poll' end

-- The tenant of a destination's lane; nil for a project's.
function agenda.tenant_of(name, lane) return not agenda.is_shared(name) and (lane_name.split(lane)) or nil end

local CLASS, LAST_CLASS = 1e13, 9 -- milliseconds that no clock reaches before 2286
local TOP = (LAST_CLASS + 1) * CLASS -- of all scores
local FAR = 60 * 86400 * 1000 -- (ms) nothing is due, leased or to be served that far ahead
local LONGEST_PAUSE = 2 * 86400 * 1000

function agenda.patience(class) return 1000 * 2 ^ (class - 1) end

local function class_of(patience)
  if not patience then return 0 end
  return math.min(1 + math.max(0, math.ceil(math.log(patience / 1000) / math.log(2))), LAST_CLASS)
end

-- Puts an item on the agenda, or moves it to another time. An item without patience (ms) goes before those with one.
function agenda.schedule(name, lane, id, due, patience)
  local score = class_of(patience) * CLASS + due
  redis.call('ZADD', key.due(name, lane), score, id)
  redis.call('ZADD', key.lanes(name), 'LT', due, lane)
  if agenda.is_shared(name) then turns.put(lane, id, score) end
end

-- True if the item is on the agenda, leased or not.
function agenda.has(name, lane, id)
  return redis.call('ZSCORE', key.due(name, lane), id) or redis.call('ZSCORE', key.leased(name, lane), id)
end

-- Returns the non-empty classes, each with up to `count` first items: {class = …, items = {{id = …, due = …}, …}}.
-- after: leaves out items of class 0 that are due by then.
-- due: key of the sorted set.
function agenda.classes(due, count, after)
  local classes, from = {}, after and '(' .. after or '-inf'
  while true do
    local found = redis.call('ZRANGEBYSCORE', due, from, '(' .. TOP, 'WITHSCORES', 'LIMIT', 0, count)
    if not found[1] then return classes end
    local class, items = math.max(0, math.floor(found[2] / CLASS)), {}
    from = (class + 1) * CLASS
    for i = 1, #found, 2 do
      if tonumber(found[i + 1]) >= from then break end
      items[#items + 1] = {id = found[i], due = math.max(0, found[i + 1] - class * CLASS)}
    end
    classes[#classes + 1] = {class = class, items = items}
  end
end

-- When the first item of a lane is due, nil if there is none.
function agenda.next_due(name, lane)
  local first
  for _, class in ipairs(agenda.classes(key.due(name, lane), 1)) do
    first = math.min(first or math.huge, class.items[1].due)
  end
  return first
end

-- How many items of a lane are due and not leased.
function agenda.count_due(name, lane, now)
  local last = redis.call('ZRANGE', key.due(name, lane), -1, -1, 'WITHSCORES')[2]
  local count = redis.call('ZCOUNT', key.leased(name, lane), '-inf', now)
  for class = 0, last and math.min(math.floor(last / CLASS), LAST_CLASS) or -1 do
    count = count + redis.call('ZCOUNT', key.due(name, lane), class * CLASS, class * CLASS + now)
  end
  return count
end

-- True if the fence is that of the item's current lease.
function agenda.holds(name, lane, id, fence)
  return tonumber(redis.call('ZSCORE', key.leased(name, lane), id) or '') == tonumber(fence)
end

-- Takes an item off the agenda, leased or not. This frees a slot, so another item of the lane may be claimed.
function agenda.remove(name, lane, id)
  redis.call('ZREM', key.due(name, lane), id)
  redis.call('ZREM', key.leased(name, lane), id)
  if agenda.is_shared(name) then turns.remove(lane, id) end
  local due = agenda.next_due(name, lane)
  if due then redis.call('ZADD', key.lanes(name), 'LT', due, lane) end
end

-- Items whose lease has ended are due again. Nobody reported their result, so they go before those with a patience.
function agenda.end_leases(name, lane, now, limit)
  local expired = redis.call('ZRANGEBYSCORE', key.leased(name, lane), '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #expired, 2 do
    redis.call('ZREM', key.leased(name, lane), expired[i])
    redis.call('ZADD', key.due(name, lane), expired[i + 1], expired[i])
    if agenda.is_shared(name) then turns.put(lane, expired[i], expired[i + 1]) end
  end
end

-- Makes due what has a score that it cannot have, and has a lane served that has items.
function agenda.repair(name, lane, now)
  local due, leased, wrong = key.due(name, lane), key.leased(name, lane), {}
  local function add(set, from, to)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', set, from, to)) do wrong[#wrong + 1] = id end
  end
  local own = agenda.is_shared(name) and turns.sets(lane) or {}
  for class = 0, LAST_CLASS do
    local from, to = class * CLASS + now + FAR, class < LAST_CLASS and '(' .. (class + 1) * CLASS or '+inf'
    add(due, from, to)
    for _, set in ipairs(own) do redis.call('ZREMRANGEBYSCORE', set, from, to) end
  end
  add(leased, now + FAR, '+inf')
  for _, id in ipairs(wrong) do
    redis.call('ZREM', leased, id)
    agenda.schedule(name, lane, id, now)
  end
  if guard.number(redis.call('HGET', key.lane(name, lane), 'not_before'), 0) > now + LONGEST_PAUSE then
    redis.call('HDEL', key.lane(name, lane), 'not_before')
    redis.call('ZADD', key.lanes(name), 'LT', now, lane)
  end
  local served = tonumber(redis.call('ZSCORE', key.lanes(name), lane) or '') or math.huge
  if served < now + FAR or redis.call('HEXISTS', key.lane(name, lane), 'held') == 1 then return end
  if redis.call('EXISTS', due, leased) > 0 then redis.call('ZADD', key.lanes(name), now, lane) end
end

-- Pauses a lane until a time (ms). A longer pause stays in force.
function agenda.pause(name, lane, till)
  if guard.number(redis.call('HGET', key.lane(name, lane), 'not_before'), 0) < till then
    redis.call('HSET', key.lane(name, lane), 'not_before', till)
  end
end

-- Wakes the dispatcher. One entry is enough: it serves every agenda.
function agenda.wake(name)
  if redis.call('EXISTS', key.wake(name)) == 0 then redis.call('LPUSH', key.wake(name), '1') end
end
