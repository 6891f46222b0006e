-- Opens a lane's circuit breaker: the other side rejects our credentials.
-- args: agenda_name, lane, now (ms), pause (ms, requested by this refusal),
--       pauses... (ms, minimum after the first refusal in a row, the second, ...)
-- Returns: the length of the pause (ms); 0 if the lane was paused already.
-- flags: allow-oom
return breaker.open(agenda_name, lane, tonumber(now), tonumber(pause), pauses)
