-- Closes a lane's circuit breaker, and sets the count of refused calls back: a call was answered.
-- args: agenda_name, lane, now (ms)
-- Returns: 1 if the breaker was open, else 0.
-- flags: allow-oom
redis.call('HDEL', key.lane(agenda_name, lane), 'refused_calls')
return breaker.close(agenda_name, lane, tonumber(now)) and 1 or 0
