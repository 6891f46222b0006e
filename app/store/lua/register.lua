-- Takes a registration: its record, its watches, its place in the index, and the answer to repeat. All or nothing.
-- ARGV: now, id, record, tenant, project, lane, events, deadline, keep_s, id that those of forgotten ones are below,
--       key of the idempotency record or '', its value, its life in seconds, job id...
-- Returns: 'created', or the idempotency record that was there first.
local now, id, project, keep_s, idempotency = ARGV[1], ARGV[2], ARGV[5], ARGV[9], ARGV[11]
local first_job = 14
if idempotency ~= '' then
  local earlier = redis.call('GET', idempotency)
  if earlier then return earlier end
  redis.call('SET', idempotency, ARGV[12], 'EX', ARGV[13])
end
redis.call('SET', key.registration(id), ARGV[3])
redis.call('HSET', key.progress(id), 'tenant', ARGV[4], 'project', project, 'lane', ARGV[6], 'events', ARGV[7],
  'state', 'watching', 'open', #ARGV - first_job + 1, 'pending', 0, 'delivered', 0, 'dead', 0)
redis.call('ZADD', key.registrations(ARGV[4]), 0, id)
redis.call('ZREMRANGEBYLEX', key.registrations(ARGV[4]), '-', '(' .. ARGV[10])
redis.call('ZADD', key.deadlines(), ARGV[8], id)
for i = first_job, #ARGV do
  local job, watch = ARGV[i], key.watch(project, ARGV[i])
  redis.call('HSET', key.progress(id), 'job:' .. job, '')
  local known = redis.call('HMGET', watch, 'state', 'job', 'observed')
  if known[2] then
    ending.of_job(id, job, known[1], known[2], known[3], now, keep_s)
  elseif not known[1] then
    redis.call('HSET', watch, 'state', 'pending', 'since', now, 'asks', 0)
    agenda.schedule('poll', project, job, now)
    agenda.wake('poll')
  end
  redis.call('HSET', watch, id, '')
end
return 'created'
