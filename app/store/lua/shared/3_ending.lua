-- How a registered job ends, whoever brings it about: an answer of CPH, the deadline, or a registration that came late.
local ending = {}

-- ids.py: event_id and delivery_id.
function ending.delivery_id(registration, job, state)
  local digest = redis.sha1hex(registration .. '|' .. job .. '|' .. state)
  return 'dlv_' .. string.sub(registration, 5, 14) .. string.sub(digest, 1, 16)
end

-- What has ended is kept for a while; what still owes a callback is kept until it does not.
function ending.keep(registration, keep_s)
  local now = redis.call('HMGET', key.progress(registration), 'state', 'pending')
  if now[1] ~= 'watching' and tonumber(now[2]) == 0 then
    redis.call('EXPIRE', key.registration(registration), keep_s)
    redis.call('EXPIRE', key.progress(registration), keep_s)
  end
end

-- Nothing is older than this: 7 days of watching and some of trying, then `keep_s`.
local LONGEST_LIFE_MS = 14 * 86400000

local function create_delivery(registration, job, state, snapshot, observed, now, keep_s)
  local progress = key.progress(registration)
  local owner = redis.call('HMGET', progress, 'tenant', 'lane')
  local id = ending.delivery_id(registration, job, state)
  redis.call('HSET', key.delivery(id), 'registration', registration, 'tenant', owner[1], 'lane', owner[2],
    'job_id', job, 'job_state', state, 'job', snapshot, 'observed', observed, 'created', now,
    'state', 'pending', 'attempts', 0, 'next', now)
  redis.call('ZADD', key.deliveries(owner[1]), 0, string.format('%013d:%s', now, id))
  local forgotten = now - keep_s * 1000 - LONGEST_LIFE_MS
  redis.call('ZREMRANGEBYLEX', key.deliveries(owner[1]), '-', string.format('(%013d', math.max(0, forgotten)))
  redis.call('HINCRBY', progress, 'pending', 1)
  agenda.schedule('deliver', owner[2], id, now)
  agenda.wake('deliver')
end

-- Ends a job for one registration, once: later endings of the same job change nothing.
-- `snapshot` is the job as JSON, `observed` the moment (ms) at which the end was seen.
function ending.of_job(registration, job, state, snapshot, observed, now, keep_s)
  local progress = key.progress(registration)
  if redis.call('HGET', progress, 'job:' .. job) ~= '' then return end
  redis.call('HSET', progress, 'job:' .. job, state)
  if string.find(redis.call('HGET', progress, 'events'), state, 1, true) then
    create_delivery(registration, job, state, snapshot, observed, now, keep_s)
  end
  if redis.call('HINCRBY', progress, 'open', -1) == 0 then
    redis.call('HSET', progress, 'state', 'finished')
    redis.call('ZREM', key.deadlines(), registration)
    ending.keep(registration, keep_s)
  end
end

-- The jobs of a registration with their states; '' for one that has not ended.
function ending.jobs(registration)
  local jobs, fields = {}, redis.call('HGETALL', key.progress(registration))
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 4) == 'job:' then jobs[string.sub(fields[i], 5)] = fields[i + 1] end
  end
  return jobs
end

-- Its request need not be asked for a job any more.
function ending.leave_request(project, job)
  local request = redis.call('HGET', key.watch(project, job), 'request_id')
  if request then redis.call('HDEL', key.request(project, request), 'job:' .. job) end
end

-- Stops watching a job for one registration; the last to leave takes the watch along.
function ending.leave(project, job, registration)
  local watch = key.watch(project, job)
  redis.call('HDEL', watch, registration)
  for _, field in ipairs(redis.call('HKEYS', watch)) do
    if string.sub(field, 1, 4) == 'reg_' then return end
  end
  ending.leave_request(project, job)
  redis.call('DEL', watch)
  agenda.remove('poll', project, job)
end
