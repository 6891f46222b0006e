-- The health of a destination, updated by each attempt. Its lane has the circuit breaker. In addition a destination has
-- an adaptive concurrency, and may be on hold: paused by its tenant, or disabled after days of failures.
local destination = {}

-- Returns the id of the registration that notifies the operator, stored when it is needed. No caller owns it.
local function operator_registration(operator)
  redis.call('SET', key.registration(operator.id), operator.record)
  redis.call('HSET', key.progress(operator.id), 'tenant', operator.tenant, 'project', '', 'lane', operator.lane)
  return operator.id
end

-- Notifies the operator that a destination was disabled or reopened, unless it is the operator's own.
-- operator: {id, record, tenant, lane}, nil if there is none.
function destination.notify(operator, lane, what, since, failures, now, keep_s)
  if not operator or lane == operator.lane then return end
  local tenant, address = lane_name.split(lane)
  local about = {tenant = tenant, destination = address, since = since, failures = failures,
    held = redis.call('ZCARD', key.due('deliver', lane)) + redis.call('ZCARD', key.leased('deliver', lane))}
  local registration, kind = operator_registration(operator), 'destination.' .. what
  local id = ending.delivery_id(registration, lane .. ' ' .. now, kind)
  ending.create_delivery(id, registration, '', kind, cjson.encode(about), now, now, keep_s)
end

-- Overload lowers a rate no further (per second; an eighth of a rate that is below 8): a backlog of hours must end.
local LEAST_RATE = 1

-- Adapts concurrency and rate. A new destination gets one attempt at a time until it has answered once. A sign of
-- overload halves both. As many answers as the concurrency raise it by one; the rate recovers by itself. Attempts that
-- began before the last reduction do not count: they do not show its effect.
-- A probe while the breaker is open does not change the rate.
local function adapt(lane, hash, own, signal, now)
  local concurrency, halved_at = guard.number(own[1], signal.concurrency), guard.number(own[2], 0)
  if signal.started <= halved_at then return end
  local is_new = own[1] and not own[2]
  if signal.overloaded then
    local fewer = math.max(1, math.floor(math.min(concurrency, signal.concurrency) / 2))
    redis.call('HSET', hash, 'places', fewer, 'halved_at', now, 'run', 0)
    local rate = guard.number(redis.call('HGET', hash, 'rate'), signal.rate)
    if rate > 0 and not own[4] then budget.halve('deliver', lane, rate, now, math.min(LEAST_RATE, rate / 8)) end
  elseif is_new and signal.answered then redis.call('HDEL', hash, 'places')
  elseif own[1] and signal.answered and redis.call('HINCRBY', hash, 'run', 1) >= concurrency then
    if concurrency + 1 >= signal.concurrency then redis.call('HDEL', hash, 'places', 'halved_at', 'run')
    else redis.call('HSET', hash, 'places', concurrency + 1, 'run', 0) end
  end
end

local function record_answer(lane, hash, failures, now)
  redis.call('HSET', hash, 'answered', now)
  if failures then redis.call('HDEL', hash, 'failures', 'failing_since') end
  return breaker.close('deliver', lane, now) and 'answers_again' or ''
end

local function record_failure(lane, hash, refused, signal, now, keep_s)
  redis.call('HSET', hash, 'failed', now, 'failure', signal.why)
  redis.call('HSETNX', hash, 'failing_since', now)
  local failures = redis.call('HINCRBY', hash, 'failures', 1)
  local rules = signal.rules
  if not refused and failures < rules.opens_after then
    if signal.pause > 0 then agenda.pause('deliver', lane, now + signal.pause) end
    return ''
  end
  local pause = breaker.open('deliver', lane, now, math.max(signal.pause, rules.pauses[1]), rules.pauses)
  -- After the pause it restarts with a concurrency of one and one token, so that the backlog does not flood it.
  if pause > 0 then
    redis.call('HSET', hash, 'places', 1, 'halved_at', now, 'run', 0)
    if signal.rate > 0 then redis.call('HSET', hash, 'tokens', 1, 'stamp', now + pause) end
  end
  local own = redis.call('HMGET', hash, 'failing_since', 'held')
  if not own[2] and now - own[1] >= rules.disabled_after then
    redis.call('HSET', hash, 'held', now, 'held_why', 'disabled')
    redis.call('SADD', key.lanes_in_state('disabled'), lane)
    destination.notify(signal.operator, lane, 'disabled', tonumber(own[1]), failures, now, keep_s)
    return 'disabled'
  end
  return pause > 0 and not refused and 'fails' or ''
end

-- signal: started (ms), concurrency, rate (per second, 0 is unlimited), overloaded, answered; if not answered: why,
-- pause (ms), rules (opens_after, disabled_after, pauses), operator (see destination.notify).
-- Returns the change of the destination's state: 'answers_again', 'fails' or 'disabled'; '' if it has not changed.
function destination.update_health(lane, signal, now, keep_s)
  local hash = key.lane('deliver', lane)
  local own = redis.call('HMGET', hash, 'places', 'halved_at', 'failures', 'refusals')
  adapt(lane, hash, own, signal, now)
  if signal.answered then return record_answer(lane, hash, own[3], now) end
  return record_failure(lane, hash, own[4], signal, now, keep_s)
end

-- Records that a registration used a destination. Deletes destinations unused for long, unless they are on hold or have
-- deliveries.
function destination.record_use(tenant, lane, now, keep_s)
  local index = key.destinations(tenant)
  if redis.call('ZADD', index, now, (select(2, lane_name.split(lane)))) == 1 then
    redis.call('HSET', key.lane('deliver', lane), 'places', 1)
  end
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', ending.oldest_kept(now, keep_s), 'LIMIT', 0, 10)) do
    local old_lane = lane_name.join(tenant, old)
    if redis.call('EXISTS', key.due('deliver', old_lane), key.leased('deliver', old_lane)) > 0 or
       redis.call('HEXISTS', key.lane('deliver', old_lane), 'held') == 1 then
      redis.call('ZADD', index, now, old)
    else
      redis.call('ZREM', index, old)
      redis.call('DEL', key.lane('deliver', old_lane))
      redis.call('SREM', key.lanes_in_state('failing'), old_lane)
    end
  end
end
