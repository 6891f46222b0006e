-- Records the result of an attempt: adds a line to the log, settles or reschedules the delivery, and updates the health
-- of the destination. A success always counts; a failure changes the delivery only under its current lease.
-- args: id, lane, fence, next_state, due (ms; '' unless pending), line (JSON for the log; '' if nothing was sent),
--       keep_s, verdict ('' for none), death (why it is dead; '' unless it is),
--       maybe_delivered ('1' if it may have been delivered without confirmation, else ''),
--       now (ms), signal (JSON, see destination.update_health; '' if it says nothing about the destination)
-- Returns: the change of the destination's state, '' for none (see destination.update_health).
-- item: 'deliver', lane, id
-- flags: allow-oom
local delivery, attempts = key.delivery(id), key.attempts(id)
local own = redis.call('HMGET', delivery, 'registration', 'state', 'again', 'end')
if not own[1] or redis.call('LINDEX', attempts, -1) == line then return '' end
local progress, was = key.progress(own[1]), own[2]
if maybe_delivered == '' then attempt.confirm(id, lane) end
local ours = agenda.holds('deliver', lane, id, fence)
if line ~= '' then
  redis.call('RPUSH', attempts, line)
  if was ~= 'pending' then redis.call('EXPIRE', attempts, keep_s) end -- a late line may have created the log anew
elseif ours then redis.call('HINCRBY', delivery, 'attempts', -1) end
if ours then
  redis.call('HDEL', progress, 'permit:' .. id)
  agenda.remove('deliver', lane, id)
end
if was ~= 'delivered' and (next_state == 'delivered' or (ours and was == 'pending')) then
  if own[4] == 'test' and verdict ~= '' then redis.call('HSET', progress, 'tested', verdict) end
  if own[3] and next_state ~= 'delivered' then next_state, due = 'pending', own[3] end -- redelivered during the attempt
  if next_state == 'pending' then
    redis.call('HSET', delivery, 'next', due)
    if verdict == 'refused' then redis.call('HINCRBY', delivery, 'refused', 1) end
    agenda.schedule('deliver', lane, id, due)
  else
    if not ours then agenda.remove('deliver', lane, id) end
    ending.settle(id, own[1], was, next_state, death, fence, keep_s)
  end
end
if signal == '' then return '' end
return destination.update_health(lane, cjson.decode(signal), tonumber(now), keep_s)
