-- A lane that is refused, or not answered: left alone for a while, for longer each time in a row, and then one alone goes
-- ahead until somebody is answered.
local breaker = {}

-- pause: what this refusal asks for; pauses: after the first in a row, the second, ... The first gets what it asks for, each
-- that follows no less than is said there. Refusals of calls that were under way together count as one.
-- Returns how long the pause is (ms), 0 if there was one already.
function breaker.open(name, lane, now, pause, pauses)
  local hash = key.lane(name, lane)
  local own = redis.call('HMGET', hash, 'refusals', 'not_before')
  local refusals, paused_until = tonumber(own[1] or '0'), tonumber(own[2] or '0')
  if refusals > 0 and paused_until > now then return 0 end
  if refusals > 0 then pause = math.max(pause, tonumber(pauses[math.min(1 + refusals, #pauses)])) end
  redis.call('HSETNX', hash, 'refused_since', now)
  if name == 'deliver' then redis.call('SADD', key.lanes_that_are('failing'), lane) end
  redis.call('HSET', hash, 'refusals', refusals + 1, 'refused_at', now, 'not_before', math.max(paused_until, now + pause))
  return pause
end

-- Somebody was answered. What comes during the pause is the answer to a call from before it, and says nothing.
-- True if the lane was refused until now.
function breaker.close(name, lane, now)
  local hash = key.lane(name, lane)
  local own = redis.call('HMGET', hash, 'refusals', 'not_before')
  if not own[1] or tonumber(own[2]) > now then return false end
  redis.call('HDEL', hash, 'refusals', 'refused_since', 'refused_at')
  if name == 'deliver' then redis.call('SREM', key.lanes_that_are('failing'), lane) end
  return true
end
