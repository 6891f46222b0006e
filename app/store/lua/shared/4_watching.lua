-- How jobs come to be watched: each by itself, or by its request. What a request answers for, its hash says: for each
-- job whether it has named the request itself (0), has been shown by it (1), or was told by a caller (2); and the
-- registrations that look for all of its jobs.
local watching = {}
watching.NAMED, watching.SHOWN, watching.TOLD = '0', '1', '2'

-- Adds a job to a registration, which is open for one more thing than it has jobs.
function watching.add(registration, project, job, now, keep_s)
  redis.call('HSET', key.progress(registration), 'job:' .. job, '')
  redis.call('HINCRBY', key.progress(registration), 'open', 1)
  watching.watch(registration, project, job, now, keep_s, '')
end

-- Has a registration wait for a job of its own; true if nobody has waited for that job yet. operation: '' if not known.
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

-- Asks for a job by itself: behind requests, among the most eager of the jobs. To be followed by a wake.
function watching.alone(project, job, now) agenda.schedule('poll', project, job, now, 1000) end

-- The request will be asked for before all else, also if that is being done just now: it may save a call for each job.
function watching.ask_soon(project, request, now)
  redis.call('HSETNX', key.request(project, request), 'since', now)
  redis.call('HSET', key.request(project, request), 'again', 1)
  agenda.schedule('poll', project, 'request:' .. request, 0)
  agenda.wake('poll')
end

-- A job may be asked for by its request, unless it has ended, or that is known to be of no use, or another shows it.
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

-- The request has shown a job that runs: if anybody waits for it, it is asked for by its request alone from now on.
function watching.adopt(project, job, request)
  local watch = key.watch(project, job)
  local own = redis.call('HMGET', watch, 'state', 'job')
  if not own[1] or own[2] then return end
  counts.move('watch', own[1], 'running')
  redis.call('HSET', key.request(project, request), 'job:' .. job, watching.SHOWN)
  redis.call('HSET', watch, 'request_id', request, 'state', 'running')
  redis.call('HDEL', watch, 'unknown_since') -- the grace time begins anew if it should go missing
  agenda.remove('poll', project, job)
end

-- The request has not shown a job that it may answer for. A caller's word stands until the job is found in another way:
-- CPH may need a while to show it.
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

-- A registration does not look for the jobs of its request any more; nil if it did not.
function watching.stop_looking(registration)
  local own = redis.call('HMGET', key.progress(registration), 'project', 'request')
  if own[2] and redis.call('HDEL', key.request(own[1], own[2]), registration) == 1 then return own[2] end
end

-- A request that has shown no job ends as one without id.
function watching.end_unseen(registration, request, state, now, keep_s)
  local snapshot = cjson.encode({request_id = request, state = state})
  redis.call('HSET', key.progress(registration), 'job:#', '')
  ending.of_job(registration, '#', state, snapshot, now, now, keep_s)
end
