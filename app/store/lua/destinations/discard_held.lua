-- Discards deliveries of a destination that is on hold: at most `limit` in a call. They become dead.
-- args: lane, now (ms), keep_s, limit
-- Returns: how many became dead; how many were examined (fewer than `limit` when none is left).
-- flags: allow-oom
limit = tonumber(limit)
if redis.call('HEXISTS', key.lane('deliver', lane), 'held') == 0 then return {0, 0} end
agenda.end_leases('deliver', lane, now, limit)
local ids, discarded = redis.call('ZRANGE', key.due('deliver', lane), 0, limit - 1), 0
for _, id in ipairs(ids) do
  local own = redis.call('HMGET', key.delivery(id), 'registration', 'state')
  redis.call('ZREM', key.due('deliver', lane), id)
  if own[2] == 'pending' then
    ending.settle(id, own[1], 'pending', 'dead', 'discarded', now, keep_s)
    discarded = discarded + 1
  end
end
-- Later redeliveries need not wait for those that were discarded.
if #ids < limit then redis.call('HDEL', key.lane('deliver', lane), 'redelivery') end
return {discarded, #ids}
