-- Returns the state of a lane's rate limit.
-- args: agenda_name, lane, now (ms), rate (per second of a lane without its own; 0 is unlimited), burst (seconds)
-- Returns: the effective rate; the learned rate if it is lower than the configured one, else ''; calls left in the
--          token bucket; end of the pause (ms), '' if there is none; for how long (ms) the oldest item is overdue.
-- flags: allow-oom
now = tonumber(now)
local rate_now, learned = budget.rate(agenda_name, lane, rate, now)
local tokens = budget.tokens(agenda_name, lane, rate_now, burst, now)
local not_before = guard.number(redis.call('HGET', key.lane(agenda_name, lane), 'not_before'), 0)
local late = 0
-- A due time of 0 means "before all others", not a time.
for _, class in ipairs(agenda.classes(key.due(agenda_name, lane), 1, 0)) do
  late = math.max(late, now - class.items[1].due)
end
local paused_until = not_before > now and tostring(not_before) or ''
return {tostring(rate_now), learned and tostring(learned) or '', tostring(tokens), paused_until, late}
