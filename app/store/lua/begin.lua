-- Right before the POST: is it still wanted, is the lease still ours, does nothing hold its destination? Then a permit,
-- which runs out before the lease does.
-- ARGV: id, lane, fence, permit_until (ms)
-- Returns: attempt number; of these, how many before its schedule began, and how many were refused since; when it began;
--          1 if the tenant has URLs that are gone; registration id, its record, how it ended, snapshot, observed, project;
--          nothing if not wanted.
-- flags: allow-oom
local id, lane = ARGV[1], ARGV[2]
if not agenda.holds('deliver', lane, id, ARGV[3]) then return {} end
local delivery = key.delivery(id)
local own = redis.call('HMGET', delivery, 'registration', 'state', 'end', 'about', 'observed', 'created', 'tenant',
  'again', 'spent', 'refused', 'began', 'next')
local held = redis.call('HEXISTS', key.lane('deliver', lane), 'held') == 1
if own[2] ~= 'pending' or held then
  agenda.remove('deliver', lane, id)
  if own[2] == 'pending' then agenda.schedule('deliver', lane, id, own[12]) end
  return {}
end
redis.call('HSET', key.progress(own[1]), 'permit:' .. id, ARGV[4])
local number = redis.call('HINCRBY', delivery, 'attempts', 1)
local spent, refused, began = own[9] or 0, own[10] or 0, own[11] or own[6]
if own[8] then
  spent, refused, began = number - 1, 0, own[8]
  redis.call('HSET', delivery, 'spent', spent, 'refused', refused, 'began', began)
  redis.call('HDEL', delivery, 'again')
end
local project = redis.call('HGET', key.progress(own[1]), 'project')
return {number, spent, refused, began, redis.call('EXISTS', key.gone(own[7])), own[1],
  redis.call('GET', key.registration(own[1])), own[3], own[4], own[5], project}
