-- The other side rejects our credentials or does not answer: opens the lane's breaker.
-- args: agenda_name, lane, now (ms), pause (ms, that this refusal asks for),
--       pauses... (ms, after the first refusal in a row, the second, ...)
-- Returns: the length of the pause (ms); 0 if the lane was paused already.
-- flags: allow-oom
return breaker.open(agenda_name, lane, tonumber(now), tonumber(pause), pauses)
