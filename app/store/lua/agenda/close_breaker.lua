-- Somebody was answered: a lane that was refused is served as before.
-- ARGV: agenda, lane, now
-- Returns: 1 if it was refused until now, else 0.
-- flags: allow-oom
return breaker.close(ARGV[1], ARGV[2], tonumber(ARGV[3])) and 1 or 0
