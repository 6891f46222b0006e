-- The circuit breaker of a lane whose calls are refused or not answered. It pauses the lane, longer after each refusal
-- in a row. After the pause one item at a time is tried until a call is answered.
local breaker = {}

-- pause (ms): requested by this refusal. pauses (ms): minimum after the first refusal in a row, the second, ...; the
-- first refusal gets just the requested pause. Refusals of concurrent calls count as one.
-- Returns the length of the pause (ms); 0 if the lane was paused already.
function breaker.open(name, lane, now, pause, pauses)
  local hash = key.lane(name, lane)
  local own = redis.call('HMGET', hash, 'refusals', 'not_before')
  local refusals, paused_until = guard.number(own[1], 0), guard.number(own[2], 0)
  if refusals > 0 and paused_until > now then return 0 end
  if refusals > 0 then pause = math.max(pause, tonumber(pauses[math.min(1 + refusals, #pauses)])) end
  redis.call('HSETNX', hash, 'refused_since', now)
  if name == 'deliver' then redis.call('SADD', key.lanes_in_state('failing'), lane) end
  redis.call('HSET', hash, 'refusals', refusals + 1, 'refused_at', now,
    'not_before', math.max(paused_until, now + pause))
  return pause
end

-- A call was answered. An answer during the pause belongs to a call that began before it, and changes nothing.
-- Returns true if the breaker was open.
function breaker.close(name, lane, now)
  local hash = key.lane(name, lane)
  local own = redis.call('HMGET', hash, 'refusals', 'not_before')
  if not own[1] or guard.number(own[2], 0) > now then return false end
  redis.call('HDEL', hash, 'refusals', 'refused_since', 'refused_at')
  if name == 'deliver' then redis.call('SREM', key.lanes_in_state('failing'), lane) end
  return true
end
