-- How a registered job ends: by an answer from CPH, by the deadline, or at registration if it has ended before.
local ending = {}

-- The event has the same id with another prefix. The id depends only on what the delivery is about, so that a delivery
-- that is created again gets the same one.
function ending.delivery_id(registration, job, state)
  local digest = redis.sha1hex(registration .. '|' .. job .. '|' .. state)
  return 'dlv_' .. string.sub(registration, 5, 14) .. string.sub(digest, 1, 16)
end

-- A registration that has ended is kept for `keep_s`, or until its last callback is settled and `keep_s` longer.
function ending.keep(registration, keep_s)
  local now = redis.call('HMGET', key.progress(registration), 'state', 'pending')
  if now[1] and tonumber(now[2] or 0) == 0 then
    redis.call('EXPIRE', key.registration(registration), keep_s)
    redis.call('EXPIRE', key.progress(registration), keep_s)
  end
end

-- Nothing lives longer than this: 7 days of watching and the retries, then `keep_s`.
local LONGEST_LIFE_MS = 14 * 86400000

-- Nothing needs an index entry that was last used before this time (ms).
function ending.forgotten(now, keep_s) return math.max(0, now - keep_s * 1000 - LONGEST_LIFE_MS) end

-- `job` is '' for all jobs of a registration together; the snapshot is JSON. For a registration without callback only the
-- event is stored: without a tenant it is in no list of deliveries, and nothing sends it.
function ending.create_delivery(id, registration, job, state, snapshot, observed, now, keep_s)
  local progress = key.progress(registration)
  local owner = redis.call('HMGET', progress, 'tenant', 'lane')
  redis.call('HSET', key.delivery(id), 'registration', registration, 'end', state, 'about', snapshot, 'observed', observed)
  tenancy.publish(owner[1], id, now, keep_s)
  if tenancy.pulls(owner[2]) then
    redis.call('EXPIRE', key.delivery(id), keep_s)
    return
  end
  redis.call('HSET', key.delivery(id), 'tenant', owner[1], 'lane', owner[2], 'job_id', job, 'created', now,
    'state', 'pending', 'attempts', 0, 'next', now)
  redis.call('ZADD', key.deliveries(owner[1]), 0, string.format('%013d:%s', now, id))
  redis.call('ZREMRANGEBYLEX', key.deliveries(owner[1]), '-', string.format('(%013d', ending.forgotten(now, keep_s)))
  redis.call('HINCRBY', progress, 'pending', 1)
  tenancy.count(owner[1], 'deliveries', 1)
  counts.move('delivery', nil, 'pending')
  agenda.schedule('deliver', owner[2], id, now)
  agenda.wake('deliver')
end

local function create(registration, job, state, ...)
  ending.create_delivery(ending.delivery_id(registration, job, state), registration, job, state, ...)
end

-- Tests the callback before any job has ended.
function ending.test(registration, now, keep_s)
  create(registration, '', 'test', 'null', now, now, keep_s)
end

-- Dead deliveries are counted until they expire.
local function mark_dead(id, died, keep_s)
  redis.call('ZREMRANGEBYSCORE', key.dead(), '-inf', died)
  redis.call('ZADD', key.dead(), died + keep_s * 1000, id)
end

-- A delivery is over; its registration has one fewer pending. `death`: why it is dead, '' unless it is. `moment`: when (ms),
-- to the length of a lease.
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
  if was == 'pending' then tenancy.owes(progress, -1) end
  redis.call('HINCRBY', progress, state, 1)
  redis.call('EXPIRE', key.delivery(id), keep_s)
  redis.call('EXPIRE', key.attempts(id), keep_s)
  ending.keep(registration, keep_s)
end

-- The default (every end of a job, but not `finished`) is not stored.
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

-- A summary of a registration's jobs, as JSON: a count for each state, and the jobs, those that have not succeeded first.
-- A list that is too long is truncated.
local MOST_JOBS, MOST_BYTES = 1000, 200 * 1024
local MARGIN = 150 -- what is sent may be so much longer than a snapshot, which lacks some fields
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
  local shown, bytes = {}, 0
  for i = 1, math.min(#order, MOST_JOBS) do
    local snapshot = redis.call('HGET', key.ends(registration), order[i])
    bytes = bytes + #snapshot + MARGIN
    if bytes > MOST_BYTES then break end
    shown[i] = snapshot
  end
  return string.format('{"counts":%s,"jobs":[%s],"truncated":%s}',
    cjson.encode(counts), table.concat(shown, ','), tostring(#shown < #order))
end

-- One fewer open job; with the last one the registration is finished.
function ending.release(registration, now, keep_s)
  local progress = key.progress(registration)
  if redis.call('HINCRBY', progress, 'open', -1) > 0 then return end
  tenancy.watched(progress)
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
function ending.of_job(registration, job, state, snapshot, observed, now, keep_s)
  local progress = key.progress(registration)
  local own = redis.call('HMGET', progress, 'job:' .. job, 'events')
  if own[1] ~= '' then return end
  redis.call('HSET', progress, 'job:' .. job, state)
  if wants(own[2], state) then create(registration, job, state, snapshot, observed, now, keep_s) end
  if wants(own[2], 'finished') then
    local short = cjson.decode(snapshot)
    short.execute_msg, short.state = nil, state
    redis.call('HSET', key.ends(registration), job, cjson.encode(short))
  end
  ending.release(registration, now, keep_s)
end

-- Ends a job for every registration; returns how many had waited.
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
      ending.of_job(field, job, state, snapshot, now, now, keep_s)
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

-- ListJobs need not be called for this job any more.
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
  local was = redis.call('HMGET', watch, 'state', 'job')
  if not was[2] then counts.move('watch', was[1] or nil) end
  redis.call('DEL', watch)
  agenda.remove('poll', project, job)
end
