-- An attempt is over: its line in the log, and the delivery settled or due again.
-- A success counts whoever reports it; a failure counts only under the lease in force.
-- ARGV: id, lane, fence, state that follows, due ('' unless pending), log line (JSON), keep_s
-- Returns: 1, or 0 if it did not count.
-- flags: allow-oom
local id, lane, follows, due, keep_s = ARGV[1], ARGV[2], ARGV[4], ARGV[5], ARGV[7]
local delivery, attempts = key.delivery(id), key.attempts(id)
local own = redis.call('HMGET', delivery, 'registration', 'state')
if not own[1] or redis.call('LINDEX', attempts, -1) == ARGV[6] then return 0 end
local progress, was = key.progress(own[1]), own[2]
local ours = agenda.holds('deliver', lane, id, ARGV[3])
redis.call('RPUSH', attempts, ARGV[6])
if ours then
  redis.call('HDEL', progress, 'permit:' .. id)
  agenda.remove('deliver', lane, id)
end
if was == 'delivered' or (follows ~= 'delivered' and not (ours and was == 'pending')) then return 0 end
redis.call('HSET', delivery, 'state', follows, 'next', due)
if follows == 'pending' then
  agenda.schedule('deliver', lane, id, due)
  return 1
end
agenda.remove('deliver', lane, id)
if was ~= 'cancelled' then redis.call('HINCRBY', progress, was, -1) end
redis.call('HINCRBY', progress, follows, 1)
redis.call('EXPIRE', delivery, keep_s)
redis.call('EXPIRE', attempts, keep_s)
ending.keep(own[1], keep_s)
return 1
