-- A destination is not held any more, or tried at once if it was only failing; what it did before is forgiven.
-- ARGV: lane, now, keep_s, operator (JSON, see destination.fare) or ''
-- Returns: 1 if it had been disabled, else 0.
-- flags: allow-oom
local lane, now = ARGV[1], tonumber(ARGV[2])
local hash = key.lane('deliver', lane)
local own = redis.call('HMGET', hash, 'held_why', 'failing_since', 'failures', 'not_before')
redis.call('HDEL', hash, 'held', 'held_why', 'failing_since', 'failures')
if own[1] then redis.call('SREM', key.lanes_that_are(own[1]), lane) end
if tonumber(own[4] or '0') > now then redis.call('HSET', hash, 'not_before', now) end
redis.call('ZADD', key.lanes('deliver'), 'LT', now, lane)
agenda.wake('deliver')
if own[1] ~= 'disabled' then return 0 end
local operator = ARGV[4] ~= '' and cjson.decode(ARGV[4]) or nil
destination.tell(operator, lane, 'reopened', tonumber(own[2]), tonumber(own[3]), now, ARGV[3])
return 1
