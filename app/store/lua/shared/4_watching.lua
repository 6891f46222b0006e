-- How jobs are polled: each by ShowJob, or together with the jobs of its request by ListJobs. A request's hash has the
-- jobs that ListJobs may show, each with how that is known: the job's own answer named the request (0), ListJobs has shown
-- the job (1), a caller said so (2); and the registrations that wait for all of its jobs.
local watching = {}
watching.NAMED, watching.SHOWN, watching.TOLD = '0', '1', '2'

-- Adds a job to a registration that waits for all jobs of a request.
function watching.add(registration, project, job, now, keep_s)
  redis.call('HSET', key.progress(registration), 'job:' .. job, '')
  redis.call('HINCRBY', key.progress(registration), 'open', 1)
  watching.watch(registration, project, job, now, keep_s, '')
end

-- Watches a job for a registration; true if nobody has waited for that job yet. operation: '' if not known.
function watching.watch(registration, project, job, now, keep_s, operation)
  local watch = key.watch(project, job)
  local known = redis.call('HMGET', watch, 'state', 'job', 'observed')
  if known[2] then ending.of_job(registration, job, known[1], known[2], known[3], now, keep_s)
  elseif known[1] then redis.call('HSET', watch, registration, '')
  else
    redis.call('HSET', watch, registration, '', 'state', 'pending', 'since', now)
    if operation ~= '' then redis.call('HSET', watch, 'operation', operation) end
    counts.move('watch', nil, 'pending')
    return true
  end
end

-- Polls a job by ShowJob: behind requests, in the class of least patience. To be followed by a wake.
function watching.alone(project, job, now) agenda.schedule('poll', project, job, now, 1000) end

-- Calls ListJobs for a request before anything else, again if such a call is in progress: it may save a call for each job.
function watching.ask_soon(project, request, now)
  redis.call('HSETNX', key.request(project, request), 'since', now)
  redis.call('HSET', key.request(project, request), 'again', 1)
  agenda.schedule('poll', project, 'request:' .. request, 0)
  agenda.wake('poll')
end

-- Lets ListJobs answer for a job, unless the job has ended, ListJobs did not show it before, or another request shows it.
function watching.join(project, job, request, kind)
  local watch, hash = key.watch(project, job), key.request(project, request)
  local own = redis.call('HMGET', watch, 'unlisted', 'request_id', 'job')
  if own[1] or own[3] or watching.shown(project, job, own[2]) then return false end
  redis.call('HSETNX', hash, 'job:' .. job, kind)
  return true
end

function watching.shown(project, job, request)
  return request and redis.call('HGET', key.request(project, request), 'job:' .. job) == watching.SHOWN
end

-- ListJobs has shown a running job: if anybody waits for it, it is polled by ListJobs only from now on.
function watching.adopt(project, job, request)
  local watch = key.watch(project, job)
  local own = redis.call('HMGET', watch, 'state', 'job')
  if not own[1] or own[2] then return end
  counts.move('watch', own[1], 'running')
  redis.call('HSET', key.request(project, request), 'job:' .. job, watching.SHOWN)
  redis.call('HSET', watch, 'request_id', request, 'state', 'running')
  redis.call('HDEL', watch, 'unknown_since') -- the grace time starts again if it goes missing
  agenda.remove('poll', project, job)
end

-- ListJobs has not shown a job that it may answer for. If a caller named the request, that stays valid until the job is
-- found by ShowJob: CPH may need a while to list it.
function watching.miss(project, job, request, now)
  local watch, hash = key.watch(project, job), key.request(project, request)
  local own = redis.call('HMGET', watch, 'state', 'job', 'request_id')
  local waits = redis.call('HGET', hash, 'job:' .. job) == watching.TOLD and own[1] == 'pending'
  if not waits then redis.call('HDEL', hash, 'job:' .. job) end
  if not own[1] or own[2] or watching.shown(project, job, own[3]) then return end
  if not waits then redis.call('HSET', watch, 'unlisted', 1) end
  if not agenda.has('poll', project, job) then
    watching.alone(project, job, now)
    agenda.wake('poll')
  end
end

-- A registration stops waiting for all jobs of its request; returns the request, nil if it did not wait.
function watching.stop_looking(registration)
  local own = redis.call('HMGET', key.progress(registration), 'project', 'request')
  if own[2] and redis.call('HDEL', key.request(own[1], own[2]), registration) == 1 then return own[2] end
end

-- A request that has shown no job ends as one job without id.
function watching.end_unseen(registration, request, state, now, keep_s)
  local snapshot = cjson.encode({request_id = request, state = state})
  redis.call('HSET', key.progress(registration), 'job:#', '')
  ending.of_job(registration, '#', state, snapshot, now, now, keep_s)
end
