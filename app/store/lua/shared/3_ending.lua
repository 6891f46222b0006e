-- How a registered job ends: by an answer from CPH, by the deadline, or at registration if it has ended before.
local ending = {}

-- Returns the id of a delivery; its event has the same id with another prefix. It is derived from registration, job and
-- state, so a delivery that is created again (after a failover) gets the same id.
function ending.delivery_id(registration, job, state)
  local digest = redis.sha1hex(registration .. '|' .. job .. '|' .. state)
  return 'dlv_' .. string.sub(registration, 5, 14) .. string.sub(digest, 1, 16)
end

-- Lets a registration expire `keep_s` after it has ended and its last delivery is settled.
function ending.keep(registration, keep_s)
  local own = redis.call('HMGET', key.progress(registration), 'state', 'pending')
  if own[1] and guard.number(own[2], 0) == 0 then
    redis.call('EXPIRE', key.registration(registration), keep_s)
    redis.call('EXPIRE', key.progress(registration), keep_s)
  end
end

-- A registration lives at most this long before `keep_s` begins: 7 days of watching, then the retries.
local LONGEST_LIFE_MS = 14 * 86400000

-- Index entries last used before this time (ms) are not needed any more.
function ending.oldest_kept(now, keep_s) return math.max(0, now - keep_s * 1000 - LONGEST_LIFE_MS) end

-- Creates an event and its delivery. job: '' for all jobs of the registration together. snapshot: JSON. For a
-- registration without callback it stores the event only: without a tenant it is not listed and never sent.
function ending.create_delivery(id, registration, job, state, snapshot, observed, now, keep_s)
  local progress = key.progress(registration)
  local owner = redis.call('HMGET', progress, 'tenant', 'lane')
  redis.call('HSET', key.delivery(id), 'registration', registration, 'end', state, 'about', snapshot,
    'observed', observed)
  tenancy.publish(owner[1], id, now, keep_s)
  if tenancy.has_no_callback(owner[2]) then
    redis.call('EXPIRE', key.delivery(id), keep_s)
    return
  end
  redis.call('HSET', key.delivery(id), 'tenant', owner[1], 'lane', owner[2], 'job_id', job, 'created', now,
    'state', 'pending', 'attempts', 0, 'next', now)
  redis.call('ZADD', key.deliveries(owner[1]), 0, string.format('%013d:%s', now, id))
  redis.call('ZREMRANGEBYLEX', key.deliveries(owner[1]), '-', string.format('(%013d', ending.oldest_kept(now, keep_s)))
  redis.call('HINCRBY', progress, 'pending', 1)
  tenancy.count(owner[1], 'deliveries', 1)
  counts.move('delivery', nil, 'pending')
  agenda.schedule('deliver', owner[2], id, now)
  agenda.wake('deliver')
end

local function create(registration, job, state, ...)
  ending.create_delivery(ending.delivery_id(registration, job, state), registration, job, state, ...)
end

-- Creates a test delivery, which tests the callback before any job has ended.
function ending.test(registration, now, keep_s)
  create(registration, '', 'test', 'null', now, now, keep_s)
end

-- Counts a dead delivery until it expires.
local function mark_dead(id, died, keep_s)
  redis.call('ZREMRANGEBYSCORE', key.dead(), '-inf', died)
  redis.call('ZADD', key.dead(), died + keep_s * 1000, id)
end

-- Settles a delivery: its registration has one fewer pending. death: why it is dead, '' unless it is. moment: when
-- (ms), exact to the length of a lease.
function ending.settle(id, registration, was, state, death, moment, keep_s)
  local progress = key.progress(registration)
  redis.call('HSET', key.delivery(id), 'state', state, 'next', '')
  if was == 'pending' then counts.move('delivery', was) end
  if was == 'dead' then redis.call('ZREM', key.dead(), id) end
  if state == 'dead' then
    redis.call('HSET', key.delivery(id), 'death', death)
    mark_dead(id, moment, keep_s)
  end
  redis.call('HDEL', key.delivery(id), 'again')
  if was ~= 'cancelled' then redis.call('HINCRBY', progress, was, -1) end
  if was == 'pending' then tenancy.count_pending(progress, -1) end
  redis.call('HINCRBY', progress, state, 1)
  redis.call('EXPIRE', key.delivery(id), keep_s)
  redis.call('EXPIRE', key.attempts(id), keep_s)
  ending.keep(registration, keep_s)
end

-- True if a registration subscribes to this event. The default (every end of a job, not `finished`) is not stored.
local function wants(events, kind)
  if not events then return kind ~= 'finished' end
  return string.find(events, kind, 1, true)
end

-- The jobs of a registration with their states; '' while a job has not ended.
function ending.jobs(registration)
  local jobs, fields = {}, redis.call('HGETALL', key.progress(registration))
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 4) == 'job:' then jobs[string.sub(fields[i], 5)] = fields[i + 1] end
  end
  return jobs
end

-- Returns a summary of a registration's jobs as JSON: the count of each state, then the jobs, failures first. A list
-- that is too long is truncated.
local MOST_JOBS, MOST_BYTES = 1000, 200 * 1024
local MARGIN = 150 -- bytes that sending adds to each snapshot, which lacks some fields
local function summary(registration)
  local states, counts, order = ending.jobs(registration), {}, {}
  for job, state in pairs(states) do
    counts[state] = (counts[state] or 0) + 1
    order[#order + 1] = job
  end
  table.sort(order, function(a, b)
    local a_last, b_last = states[a] == 'succeeded', states[b] == 'succeeded'
    if a_last ~= b_last then return b_last end
    return a < b
  end)
  local listed, bytes = {}, 0
  for i = 1, math.min(#order, MOST_JOBS) do
    local snapshot = redis.call('HGET', key.ends(registration), order[i])
      or cjson.encode({job_id = order[i], state = states[order[i]]})
    bytes = bytes + #snapshot + MARGIN
    if bytes > MOST_BYTES then break end
    listed[i] = snapshot
  end
  return string.format('{"counts":%s,"jobs":[%s],"truncated":%s}',
    cjson.encode(counts), table.concat(listed, ','), tostring(#listed < #order))
end

-- Counts one open job fewer; after the last one the registration is finished.
function ending.release(registration, now, keep_s)
  local progress = key.progress(registration)
  if tenancy.count_open(progress, -1) > 0 then return end
  tenancy.count_stopped(progress)
  redis.call('HSET', progress, 'state', 'finished')
  redis.call('ZREM', key.deadlines(), registration)
  if wants(redis.call('HGET', progress, 'events'), 'finished') then
    create(registration, '', 'finished', summary(registration), now, now, keep_s)
    redis.call('DEL', key.ends(registration))
  end
  ending.keep(registration, keep_s)
end

-- Ends a job for one registration, once: a second end of the same job changes nothing.
-- `snapshot` is the job as JSON, `observed` when (ms) the end was seen.
function ending.end_job(registration, job, state, snapshot, observed, now, keep_s)
  local progress = key.progress(registration)
  local own = redis.call('HMGET', progress, 'job:' .. job, 'events')
  if own[1] ~= '' then return end
  redis.call('HSET', progress, 'job:' .. job, state)
  if wants(own[2], state) then create(registration, job, state, snapshot, observed, now, keep_s) end
  if wants(own[2], 'finished') then
    local short = cjson.decode(snapshot)
    short.execute_msg, short.sealed_execute_msg, short.state = nil, nil, state
    redis.call('HSET', key.ends(registration), job, cjson.encode(short))
  end
  ending.release(registration, now, keep_s)
end

-- Ends a job for every registration; returns how many were waiting.
function ending.complete(project, job, state, snapshot, now, keep_s)
  local watch = key.watch(project, job)
  agenda.remove('poll', project, job)
  ending.leave_request(project, job)
  local known = redis.call('HMGET', watch, 'state', 'job')
  if not known[1] or known[2] then return 0 end
  counts.move('watch', known[1])
  counts.move('ended', nil, state .. ':' .. project)
  local waited = 0
  for _, field in ipairs(redis.call('HKEYS', watch)) do
    if string.sub(field, 1, 4) == 'reg_' then
      guard.item(field, function() ending.end_job(field, job, state, snapshot, now, now, keep_s) end)
      waited = waited + 1
    end
  end
  if state == 'lost' then
    redis.call('DEL', watch)
  else
    redis.call('HSET', watch, 'state', state, 'job', snapshot, 'observed', now)
    redis.call('EXPIRE', watch, keep_s)
  end
  return waited
end

-- Removes a job from its request: ListJobs need not be called for it any more.
function ending.leave_request(project, job)
  local request = redis.call('HGET', key.watch(project, job), 'request_id')
  if request then redis.call('HDEL', key.request(project, request), 'job:' .. job) end
end

-- Stops watching a job for one registration; deletes the watch if no other registration waits for it.
function ending.leave(project, job, registration)
  local watch = key.watch(project, job)
  tenancy.stop_waiting(watch, registration)
  for _, field in ipairs(redis.call('HKEYS', watch)) do
    if string.sub(field, 1, 4) == 'reg_' then return end
  end
  ending.leave_request(project, job)
  local was = redis.call('HMGET', watch, 'state', 'job')
  if not was[2] then counts.move('watch', was[1] or nil) end
  agenda.remove('poll', project, job)
  redis.call('DEL', watch)
end
