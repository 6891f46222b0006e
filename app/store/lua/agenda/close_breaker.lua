-- Closes a lane's circuit breaker: a call was answered.
-- args: agenda_name, lane, now (ms)
-- Returns: 1 if the breaker was open, else 0.
-- flags: allow-oom
return breaker.close(agenda_name, lane, tonumber(now)) and 1 or 0
