-- Cancels a registration: stops watching its jobs and cancels its pending deliveries. No further attempt begins.
-- args: id, tenant, keep_s
-- Returns: when (ms) the last permit of an attempt ends, 0 if there is none; -1 if the tenant has no such registration.
-- flags: allow-oom
local progress = key.progress(id)
local own = redis.call('HMGET', progress, 'tenant', 'project', 'lane')
if own[1] ~= tenant then return -1 end
tenancy.count_stopped(progress)
redis.call('HSET', progress, 'state', 'cancelled')
redis.call('ZREM', key.deadlines(), id)
redis.call('DEL', key.ends(id))
watching.stop_waiting(id)

local function cancel_delivery(delivery)
  if redis.call('HGET', key.delivery(delivery), 'state') == 'pending' then
    redis.call('HSET', key.delivery(delivery), 'state', 'cancelled', 'next', '')
    redis.call('HDEL', key.delivery(delivery), 'again')
    redis.call('HINCRBY', progress, 'pending', -1)
    tenancy.count(tenant, 'deliveries', -1)
    counts.move('delivery', 'pending')
    redis.call('EXPIRE', key.delivery(delivery), keep_s)
    redis.call('EXPIRE', key.attempts(delivery), keep_s)
    redis.call('ZREM', key.due('deliver', own[3]), delivery)
  end
end

cancel_delivery(ending.delivery_id(id, '', 'test'))
cancel_delivery(ending.delivery_id(id, '', 'finished'))
for job, state in pairs(ending.jobs(id)) do
  if state == '' then ending.leave(own[2], job, id) else cancel_delivery(ending.delivery_id(id, job, state)) end
end
ending.keep(id, keep_s)
local latest = 0
local fields = redis.call('HGETALL', progress)
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 7) == 'permit:' then latest = math.max(latest, guard.number(fields[i + 1], 0)) end
end
return latest
