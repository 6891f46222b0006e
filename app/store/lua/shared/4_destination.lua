-- How a destination fares, as its attempts tell. It shares its lane's breaker with agendas; what is its own: how many
-- attempts at once it bears, and that it is held, when it is paused by its tenant or has only failed for days.
local destination = {}

-- Where the operator is told: a registration of nobody's, which is written when it is first needed.
local function operator_registration(operator)
  redis.call('SET', key.registration(operator.id), operator.record)
  redis.call('HSET', key.progress(operator.id), 'tenant', operator.tenant, 'project', '', 'lane', operator.lane)
  return operator.id
end

-- Tells the operator that a destination was disabled or reopened; not of the operator's own, which would go round in circles.
-- lane: `<tenant> <destination>`.
function destination.tell(operator, lane, what, since, failures, now, keep_s)
  if not operator or lane == operator.lane then return end
  local tenant, address = string.match(lane, '^(%S*) (.*)$')
  local about = {tenant = tenant, destination = address, since = since, failures = failures,
    held = redis.call('ZCARD', key.due('deliver', lane)) + redis.call('ZCARD', key.leased('deliver', lane))}
  local registration, kind = operator_registration(operator), 'destination.' .. what
  local id = ending.delivery_id(registration, lane .. ' ' .. now, kind)
  ending.create_delivery(id, registration, '', kind, cjson.encode(about), now, now, keep_s)
end

-- Slower than this no pace is learned: a backlog of hours must come to an end.
local LEAST_RATE = 1

-- Half as many at once, at half the pace, after a sign of too much; one more after as many answers as there are places, while
-- the pace comes back by itself. What was under way at a change for the worse tells nothing of what came of it, and a probe
-- of one that does not answer tells nothing of its pace.
local function learn(lane, hash, own, news, now)
  local places, halved_at = tonumber(own[1] or news.places), tonumber(own[2] or '0')
  if news.started <= halved_at then return end
  if news.crowded then
    local fewer = math.max(1, math.floor(math.min(places, news.places) / 2))
    redis.call('HSET', hash, 'places', fewer, 'halved_at', now, 'run', 0)
    local rate = tonumber(redis.call('HGET', hash, 'rate') or news.rate)
    if rate > 0 and not own[4] then budget.halve('deliver', lane, rate, now, math.min(LEAST_RATE, rate / 8)) end
  elseif own[1] and news.answered and redis.call('HINCRBY', hash, 'run', 1) >= places then
    if places + 1 >= news.places then redis.call('HDEL', hash, 'places', 'halved_at', 'run')
    else redis.call('HSET', hash, 'places', places + 1, 'run', 0) end
  end
end

local function answered(lane, hash, failures, now)
  redis.call('HSET', hash, 'answered', now)
  if failures then redis.call('HDEL', hash, 'failures', 'failing_since') end
  return breaker.close('deliver', lane, now) and 'answers_again' or ''
end

local function failed(lane, hash, refused, news, now, keep_s)
  redis.call('HSET', hash, 'failed', now, 'failure', news.why)
  redis.call('HSETNX', hash, 'failing_since', now)
  local failures = redis.call('HINCRBY', hash, 'failures', 1)
  local rules = news.rules
  if not refused and failures < rules.opens_after then
    if news.pause > 0 then agenda.pause('deliver', lane, now + news.pause) end
    return ''
  end
  local pause = breaker.open('deliver', lane, now, math.max(news.pause, rules.pauses[1]), rules.pauses)
  -- Whoever comes back after that is not run over.
  if pause > 0 then
    redis.call('HSET', hash, 'places', 1, 'halved_at', now, 'run', 0)
    if news.rate > 0 then redis.call('HSET', hash, 'tokens', 1, 'stamp', now + pause) end
  end
  local own = redis.call('HMGET', hash, 'failing_since', 'held')
  if not own[2] and now - own[1] >= rules.disabled_after then
    redis.call('HSET', hash, 'held', now, 'held_why', 'disabled')
    redis.call('SADD', key.lanes_that_are('disabled'), lane)
    destination.tell(news.operator, lane, 'disabled', tonumber(own[1]), failures, now, keep_s)
    return 'disabled'
  end
  return pause > 0 and not refused and 'fails' or ''
end

-- news: started (ms), places, rate (a second, 0 for no pace), crowded (too much for it), answered; if it was not: why, pause (ms), rules (opens_after,
-- disabled_after, pauses), operator (id, record, tenant, lane) if there is one.
-- Returns what has become of the destination, if something has: 'answers_again', 'fails', 'disabled', else ''.
function destination.fare(lane, news, now, keep_s)
  local hash = key.lane('deliver', lane)
  local own = redis.call('HMGET', hash, 'places', 'halved_at', 'failures', 'refusals')
  learn(lane, hash, own, news, now)
  if news.answered then return answered(lane, hash, own[3], now) end
  return failed(lane, hash, own[4], news, now, keep_s)
end

-- Destinations that nobody has registered for in a long time are forgotten, but for those that are held or have work.
function destination.used(tenant, lane, now, keep_s)
  local index = key.destinations(tenant)
  redis.call('ZADD', index, now, string.sub(lane, #tenant + 2))
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', ending.forgotten(now, keep_s), 'LIMIT', 0, 10)) do
    local its = tenant .. ' ' .. old
    if redis.call('EXISTS', key.due('deliver', its), key.leased('deliver', its)) > 0 or
       redis.call('HEXISTS', key.lane('deliver', its), 'held') == 1 then
      redis.call('ZADD', index, now, old)
    else
      redis.call('ZREM', index, old)
      redis.call('DEL', key.lane('deliver', its))
      redis.call('SREM', key.lanes_that_are('failing'), its)
    end
  end
end
