-- Deliveries of a destination that is held are dead; a call for so many of them.
-- ARGV: lane, now, keep_s, limit
-- Returns: how many have died, then how many were looked at: less than `limit` once there are no more.
-- flags: allow-oom
local lane, limit = ARGV[1], tonumber(ARGV[4])
if redis.call('HEXISTS', key.lane('deliver', lane), 'held') == 0 then return {0, 0} end
agenda.end_leases('deliver', lane, ARGV[2], limit)
local ids, died = redis.call('ZRANGE', key.due('deliver', lane), 0, limit - 1), 0
for _, id in ipairs(ids) do
  local own = redis.call('HMGET', key.delivery(id), 'registration', 'state')
  redis.call('ZREM', key.due('deliver', lane), id)
  if own[2] == 'pending' then
    ending.settle(id, own[1], 'pending', 'dead', 'dropped', ARGV[2], ARGV[3])
    died = died + 1
  end
end
-- Who is sent once more need not wait behind those that are dropped.
if #ids < limit then redis.call('HDEL', key.lane('deliver', lane), 'redelivery') end
return {died, #ids}
