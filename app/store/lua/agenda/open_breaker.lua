-- The other side does not accept who we are: a breaker opens.
-- ARGV: agenda, lane, now, pause (ms) that this refusal asks for, pause after the first in a row, the second, ...
-- Returns: how long the pause is (ms), 0 if there was one already.
-- flags: allow-oom
return breaker.open(ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), {unpack(ARGV, 5)})
