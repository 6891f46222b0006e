-- Cancels a registration: nobody asks for it any more, no attempt starts for it any more.
-- ARGV: id, tenant, keep_s
-- Returns: until when (ms) an attempt that is under way may last, 0 for none; -1 if the tenant has no such registration.
-- flags: allow-oom
local id, progress, keep_s = ARGV[1], key.progress(ARGV[1]), ARGV[3]
local own = redis.call('HMGET', progress, 'tenant', 'project', 'lane')
if own[1] ~= ARGV[2] then return -1 end
tenancy.watched(progress)
redis.call('HSET', progress, 'state', 'cancelled')
redis.call('ZREM', key.deadlines(), id)
redis.call('DEL', key.ends(id))
watching.stop_looking(id)

local function stop(delivery)
  if redis.call('HGET', key.delivery(delivery), 'state') == 'pending' then
    redis.call('HSET', key.delivery(delivery), 'state', 'cancelled', 'next', '')
    redis.call('HDEL', key.delivery(delivery), 'again')
    redis.call('HINCRBY', progress, 'pending', -1)
    tenancy.count(ARGV[2], 'deliveries', -1)
    counts.move('delivery', 'pending')
    redis.call('EXPIRE', key.delivery(delivery), keep_s)
    redis.call('EXPIRE', key.attempts(delivery), keep_s)
    redis.call('ZREM', key.due('deliver', own[3]), delivery)
  end
end

stop(ending.delivery_id(id, '', 'test'))
stop(ending.delivery_id(id, '', 'finished'))
for job, state in pairs(ending.jobs(id)) do
  if state == '' then ending.leave(own[2], job, id) else stop(ending.delivery_id(id, job, state)) end
end
ending.keep(id, keep_s)
local latest = 0
local fields = redis.call('HGETALL', progress)
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 7) == 'permit:' then latest = math.max(latest, tonumber(fields[i + 1])) end
end
return latest
