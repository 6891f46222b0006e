-- Counts a call that was refused in a way that may concern it alone. `close_breaker` sets the count back.
-- args: agenda_name, lane, now (ms)
-- Returns: 1 if it should now be checked whether all calls are refused: at every MOST-th call in a row, and at each that
-- is made while the breaker is open; else 0.
-- flags: allow-oom
local MOST = 3
local hash = key.lane(agenda_name, lane)
local own = redis.call('HMGET', hash, 'refusals', 'not_before')
if own[1] then return guard.number(own[2], 0) <= tonumber(now) and 1 or 0 end
return redis.call('HINCRBY', hash, 'refused_calls', 1) % MOST == 0 and 1 or 0
