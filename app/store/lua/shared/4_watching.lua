-- How jobs are polled: each by ShowJob, or together with the jobs of its request by ListJobs. A request's hash has the
-- jobs that ListJobs may show, each with its source: the job's own answer named the request (0), ListJobs has shown the
-- job (1), a caller named the request (2). It also has the registrations that wait for all of its jobs.
local watching = {}
watching.JOB_NAMED, watching.SHOWN, watching.CALLER_NAMED = '0', '1', '2'

-- Adds a job to a registration that waits for all jobs of a request.
function watching.add_job(registration, project, job, now, keep_s)
  redis.call('HSET', key.progress(registration), 'job:' .. job, '')
  tenancy.count_open(key.progress(registration), 1)
  local tenant = redis.call('HGET', key.progress(registration), 'tenant')
  watching.watch(registration, tenant, project, job, now, keep_s, '')
end

-- Watches a job for a registration; returns true if the job was not watched before. operation: '' if not known.
function watching.watch(registration, tenant, project, job, now, keep_s, operation)
  local watch = key.watch(project, job)
  local known = redis.call('HMGET', watch, 'state', 'job', 'observed', 'request_id')
  if known[2] then ending.end_job(registration, job, known[1], known[2], known[3], now, keep_s)
  elseif known[1] then
    tenancy.wait(watch, registration, tenant, '')
    turns.share(project, job, tenant)
    if known[4] and redis.call('EXISTS', key.request(project, known[4])) == 1 then
      turns.share(project, 'request:' .. known[4], tenant)
    end
  else
    redis.call('HSET', watch, 'state', 'pending', 'since', now, 'tenants', tenant)
    tenancy.wait(watch, registration, tenant, '')
    if operation ~= '' then redis.call('HSET', watch, 'operation', operation) end
    counts.move('watch', nil, 'pending')
    return true
  end
end

-- Schedules a job for ShowJob: after requests, in the class of least patience. The caller then calls agenda.wake.
function watching.poll_job(project, job, now) agenda.schedule('poll', project, job, now, 1000) end

-- Schedules ListJobs for a request before anything else: it may save a ShowJob for each job. If one is in
-- progress, `again` repeats it.
function watching.poll_request_soon(project, request, now)
  redis.call('HSETNX', key.request(project, request), 'since', now)
  redis.call('HSET', key.request(project, request), 'again', 1)
  agenda.schedule('poll', project, 'request:' .. request, 0)
  agenda.wake('poll')
end

-- The item of the agenda that polls a job.
function watching.item_of(project, job)
  local request = redis.call('HGET', key.watch(project, job), 'request_id')
  return watching.is_shown(project, job, request) and 'request:' .. request or job
end

-- Polls an item of the agenda before all others, unless a poll is in progress.
function watching.poll_now(project, item)
  if redis.call('ZSCORE', key.due('poll', project), item) then agenda.schedule('poll', project, item, 0) end
end

-- True while an item has not been polled since `poll_now`.
function watching.awaits_poll(project, item)
  local due = redis.call('ZSCORE', key.due('poll', project), item)
  return due and tonumber(due) == 0 or redis.call('ZSCORE', key.leased('poll', project), item)
end

-- Lets ListJobs answer for a job; returns false if the job has ended, an earlier ListJobs did not show it, or the
-- request known for it shows it.
function watching.join(project, job, request, kind)
  local watch, hash = key.watch(project, job), key.request(project, request)
  local own = redis.call('HMGET', watch, 'unlisted', 'request_id', 'job')
  if own[1] or own[3] or watching.is_shown(project, job, own[2]) then return false end
  redis.call('HSETNX', hash, 'job:' .. job, kind)
  for _, tenant in ipairs(turns.tenants_of(project, job)) do turns.share(project, 'request:' .. request, tenant) end
  return true
end

function watching.is_shown(project, job, request)
  return request and redis.call('HGET', key.request(project, request), 'job:' .. job) == watching.SHOWN
end

-- ListJobs has shown a running job. If a registration waits for it, it is from now on polled by ListJobs only. If none
-- does any more, the request need not be polled for it: its watch did not name the request when the last one left.
function watching.record_shown(project, job, request)
  local watch = key.watch(project, job)
  local own = redis.call('HMGET', watch, 'state', 'job')
  if not own[1] or own[2] then
    redis.call('HDEL', key.request(project, request), 'job:' .. job)
    return
  end
  counts.move('watch', own[1], 'running')
  redis.call('HSET', key.request(project, request), 'job:' .. job, watching.SHOWN)
  redis.call('HSET', watch, 'request_id', request, 'state', 'running')
  redis.call('HDEL', watch, 'unknown_since') -- the grace time starts again if it goes missing
  agenda.remove('poll', project, job)
end

-- ListJobs has not shown a job of the request: polls the job by ShowJob. A request that a caller named stays valid
-- until ShowJob has found the job, because CPH may need a while to list it.
function watching.record_missing(project, job, request, now)
  local watch, hash = key.watch(project, job), key.request(project, request)
  local own = redis.call('HMGET', watch, 'state', 'job', 'request_id')
  local waits = redis.call('HGET', hash, 'job:' .. job) == watching.CALLER_NAMED and own[1] == 'pending'
  if not waits then redis.call('HDEL', hash, 'job:' .. job) end
  if not own[1] or own[2] or watching.is_shown(project, job, own[3]) then return end
  if not waits then redis.call('HSET', watch, 'unlisted', now) end
  if not agenda.has('poll', project, job) then
    watching.poll_job(project, job, now)
    agenda.wake('poll')
  end
end

-- A registration stops waiting for all jobs of its request. Returns the request, nil if it did not wait.
function watching.stop_waiting(registration)
  local own = redis.call('HMGET', key.progress(registration), 'project', 'request')
  if own[2] and tenancy.stop_waiting(key.request(own[1], own[2]), registration) then return own[2] end
end

-- Ends a request that has shown no job, as one job without id.
function watching.end_unseen(registration, project, request, state, now, keep_s)
  local hash = key.request(project, request)
  local otherwise = redis.call('HEXISTS', hash, 'answered') == 1 and 'not_listed' or 'never_seen'
  local why = unresolved.of(project, 'request:' .. request, hash, otherwise, now)
  local snapshot = cjson.encode({request_id = request, state = state, unresolved = why})
  redis.call('HSET', key.progress(registration), 'job:#', '')
  ending.end_job(registration, '#', state, snapshot, now, now, keep_s)
end
