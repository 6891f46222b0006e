-- How a lane stands.
-- ARGV: agenda, lane, now, then of a lane that has none of its own: rate (a second, 0 for no pace), burst (seconds)
-- Returns: rate in force, what was learned if that is less than its own, else '', calls left in the bucket,
--          paused until (ms), '' if it is not, and for how long (ms) the oldest has waited.
local name, lane, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
local rate, learned = budget.rate(name, lane, ARGV[4], now)
local tokens = budget.tokens(name, lane, rate, ARGV[5], now)
local not_before = tonumber(redis.call('HGET', key.lane(name, lane), 'not_before') or '0')
local late = 0
-- Zero is no due time: it stands for "before all others".
for _, class in ipairs(agenda.classes(name, lane, 1, 0)) do late = math.max(late, now - class.items[1].due) end
local paused_until = not_before > now and tostring(not_before) or ''
return {tostring(rate), learned and tostring(learned) or '', tostring(tokens), paused_until, late}
