-- An attempt is over: its line in the log, the delivery settled or due again, and what it tells of the destination.
-- A success counts whoever reports it; a failure counts for the delivery only under the lease in force.
-- ARGV: id, lane, fence, state that follows, due ('' unless pending), log line (JSON; '' if nothing was sent after all),
--       keep_s, verdict ('' for none), why it is dead ('' unless it is), 1 if it may have arrived although nobody said so, else '',
--       then, if it tells of the destination: now, news (JSON, see destination.fare)
-- Returns: what has become of the destination, '' for nothing new.
-- flags: allow-oom
local id, lane, follows, due, line, keep_s, verdict = ARGV[1], ARGV[2], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local delivery, attempts = key.delivery(id), key.attempts(id)
local own = redis.call('HMGET', delivery, 'registration', 'state', 'again', 'end')
if not own[1] or redis.call('LINDEX', attempts, -1) == line then return '' end
local progress, was = key.progress(own[1]), own[2]
if ARGV[10] == '' then attempt.is_clear(id, lane) end
local ours = agenda.holds('deliver', lane, id, ARGV[3])
if line ~= '' then
  redis.call('RPUSH', attempts, line)
  if was ~= 'pending' then redis.call('EXPIRE', attempts, keep_s) end -- perhaps its first, and it is over
elseif ours then redis.call('HINCRBY', delivery, 'attempts', -1) end
if ours then
  redis.call('HDEL', progress, 'permit:' .. id)
  agenda.remove('deliver', lane, id)
end
if was ~= 'delivered' and (follows == 'delivered' or (ours and was == 'pending')) then
  if own[4] == 'test' and verdict ~= '' then redis.call('HSET', progress, 'tested', verdict) end
  if own[3] and follows ~= 'delivered' then follows, due = 'pending', own[3] end -- under way when asked for again
  if follows == 'pending' then
    redis.call('HSET', delivery, 'next', due)
    if verdict == 'refused' then redis.call('HINCRBY', delivery, 'refused', 1) end
    agenda.schedule('deliver', lane, id, due)
  else
    if not ours then agenda.remove('deliver', lane, id) end
    ending.settle(id, own[1], was, follows, ARGV[9], ARGV[3], keep_s)
  end
end
if not ARGV[12] then return '' end
return destination.fare(lane, cjson.decode(ARGV[12]), tonumber(ARGV[11]), keep_s)
