-- Right before the POST: is it still wanted, is the lease still ours? Then a permit, which runs out before the lease does.
-- ARGV: id, lane, fence, permit_until (ms)
-- Returns: attempt number, created, registration id, its record, job state, snapshot, observed; nothing if not wanted.
-- flags: allow-oom
local id, lane = ARGV[1], ARGV[2]
if not agenda.holds('deliver', lane, id, ARGV[3]) then return {} end
local own = redis.call('HMGET', key.delivery(id), 'registration', 'state', 'job_state', 'job', 'observed', 'created')
if own[2] ~= 'pending' then
  agenda.remove('deliver', lane, id)
  return {}
end
redis.call('HSET', key.progress(own[1]), 'permit:' .. id, ARGV[4])
local number = redis.call('HINCRBY', key.delivery(id), 'attempts', 1)
return {number, own[6], own[1], redis.call('GET', key.registration(own[1])), own[3], own[4], own[5]}
