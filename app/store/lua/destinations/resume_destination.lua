-- Resumes a destination that is on hold, or retries a failing one at once. Resets its count of failures.
-- args: lane, now (ms), keep_s, operator (JSON, see destination.notify; '' if there is none)
-- Returns: 1 if it was disabled, else 0.
-- flags: allow-oom
now = tonumber(now)
local hash = key.lane('deliver', lane)
local own = redis.call('HMGET', hash, 'held_why', 'failing_since', 'failures', 'not_before')
redis.call('HDEL', hash, 'held', 'held_why', 'failing_since', 'failures')
if own[1] then redis.call('SREM', key.lanes_in_state(own[1]), lane) end
if guard.number(own[4], 0) > now then redis.call('HSET', hash, 'not_before', now) end
redis.call('ZADD', key.lanes('deliver'), 'LT', now, lane)
agenda.wake('deliver')
if own[1] ~= 'disabled' then return 0 end
local decoded = operator ~= '' and cjson.decode(operator) or nil
destination.notify(decoded, lane, 'reopened', guard.number(own[2], now), guard.number(own[3], 0), now, keep_s)
return 1
