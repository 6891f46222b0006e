-- How a registered job ends, whoever brings it about: an answer of CPH, the deadline, or a registration that came late.
local ending = {}

-- The event's id is the same but for its prefix. Made anew, it comes out the same.
function ending.delivery_id(registration, job, state)
  local digest = redis.sha1hex(registration .. '|' .. job .. '|' .. state)
  return 'dlv_' .. string.sub(registration, 5, 14) .. string.sub(digest, 1, 16)
end

-- What has ended is kept for a while; what still owes a callback is kept until it does not.
function ending.keep(registration, keep_s)
  local now = redis.call('HMGET', key.progress(registration), 'state', 'pending')
  if now[1] and tonumber(now[2] or 0) == 0 then
    redis.call('EXPIRE', key.registration(registration), keep_s)
    redis.call('EXPIRE', key.progress(registration), keep_s)
  end
end

-- Nothing is older than this: 7 days of watching and some of trying, then `keep_s`.
local LONGEST_LIFE_MS = 14 * 86400000

-- What was used before this moment for the last time, nothing needs any more.
function ending.forgotten(now, keep_s) return math.max(0, now - keep_s * 1000 - LONGEST_LIFE_MS) end

-- `job` is '' for the jobs of a registration together; the snapshot is JSON. Where nobody is called, only the event
-- is kept: without an owner it is in no log, and nothing can send it.
function ending.create_delivery(id, registration, job, state, snapshot, observed, now, keep_s)
  local progress = key.progress(registration)
  local owner = redis.call('HMGET', progress, 'tenant', 'lane')
  redis.call('HSET', key.delivery(id), 'registration', registration, 'end', state, 'about', snapshot, 'observed', observed)
  tenancy.tell(owner[1], id, now, keep_s)
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

local function tell(registration, job, state, ...)
  ending.create_delivery(ending.delivery_id(registration, job, state), registration, job, state, ...)
end

-- Tries the callback while nothing has ended yet.
function ending.test(registration, now, keep_s)
  tell(registration, '', 'test', 'null', now, now, keep_s)
end

-- Dead ones are counted until they are forgotten.
local function bury(id, died, keep_s)
  redis.call('ZREMRANGEBYSCORE', key.dead(), '-inf', died)
  redis.call('ZADD', key.dead(), died + keep_s * 1000, id)
end

-- A delivery is over, its registration has one less to wait for. `death`: why it is dead, '' unless it is; `moment` (ms):
-- when, to the length of a lease.
function ending.settle(id, registration, was, state, death, moment, keep_s)
  local progress = key.progress(registration)
  redis.call('HSET', key.delivery(id), 'state', state, 'next', '')
  if was == 'pending' then counts.move('delivery', was) end
  if was == 'dead' then redis.call('ZREM', key.dead(), id) end
  if state == 'dead' then
    redis.call('HSET', key.delivery(id), 'death', death)
    bury(id, moment, keep_s)
  end
  redis.call('HDEL', key.delivery(id), 'again')
  if was ~= 'cancelled' then redis.call('HINCRBY', progress, was, -1) end
  if was == 'pending' then tenancy.owes(progress, -1) end
  redis.call('HINCRBY', progress, state, 1)
  redis.call('EXPIRE', key.delivery(id), keep_s)
  redis.call('EXPIRE', key.attempts(id), keep_s)
  ending.keep(registration, keep_s)
end

-- The usual, every end of a job and nothing of all jobs together, is not written down.
local function wants(events, kind)
  if not events then return kind ~= 'finished' end
  return string.find(events, kind, 1, true)
end

-- The jobs of a registration with their states; '' for one that has not ended.
function ending.jobs(registration)
  local jobs, fields = {}, redis.call('HGETALL', key.progress(registration))
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 4) == 'job:' then jobs[string.sub(fields[i], 5)] = fields[i + 1] end
  end
  return jobs
end

-- What all jobs of a registration have come to, as JSON: a count for each state, and the jobs themselves, those that
-- have not succeeded first; too long a list is cut.
local MOST_JOBS, MOST_BYTES = 1000, 200 * 1024
local MARGIN = 150 -- what a subscriber gets may be so much longer than a snapshot: fields that it lacks
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

-- One thing less to wait for; with the last of them the registration is finished.
function ending.release(registration, now, keep_s)
  local progress = key.progress(registration)
  if redis.call('HINCRBY', progress, 'open', -1) > 0 then return end
  tenancy.watched(progress)
  redis.call('HSET', progress, 'state', 'finished')
  redis.call('ZREM', key.deadlines(), registration)
  if wants(redis.call('HGET', progress, 'events'), 'finished') then
    tell(registration, '', 'finished', summary(registration), now, now, keep_s)
    redis.call('DEL', key.ends(registration))
  end
  ending.keep(registration, keep_s)
end

-- Ends a job for one registration, once: later endings of the same job change nothing.
-- `snapshot` is the job as JSON, `observed` the moment (ms) at which the end was seen.
function ending.of_job(registration, job, state, snapshot, observed, now, keep_s)
  local progress = key.progress(registration)
  local own = redis.call('HMGET', progress, 'job:' .. job, 'events')
  if own[1] ~= '' then return end
  redis.call('HSET', progress, 'job:' .. job, state)
  if wants(own[2], state) then tell(registration, job, state, snapshot, observed, now, keep_s) end
  if wants(own[2], 'finished') then
    local short = cjson.decode(snapshot)
    short.execute_msg, short.state = nil, state
    redis.call('HSET', key.ends(registration), job, cjson.encode(short))
  end
  ending.release(registration, now, keep_s)
end

-- Ends a job that CPH has shown for every registration; how many had waited.
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
  local was = redis.call('HMGET', watch, 'state', 'job')
  if not was[2] then counts.move('watch', was[1] or nil) end
  redis.call('DEL', watch)
  agenda.remove('poll', project, job)
end
