-- Ends the registrations whose deadline has passed. CPH is first asked once more for their open jobs: an end that it
-- knows already is not hidden because polls were late.
-- args: now (ms), limit (jobs, after which the call ends: it blocks everybody else), keep_s,
--       last_poll_ms (how long to wait for these answers),
--       last_seen... (fields of a watch that go into the snapshot)
-- Returns: how many registrations were ended; when the next deadline is (ms; '' if there is none).
-- flags: allow-oom
local CHECK_MS = 200 -- the first wait for the answers; the following ones are longer
local MOST_REGISTRATIONS = 100 -- examined in a call
local ENDS = '' -- of a registration that awaits no poll any more
now = tonumber(now)

local function why(project, job)
  local watch, item = key.watch(project, job), watching.item_of(project, job)
  if item ~= job then
    return unresolved.of(project, item, key.request(project, string.sub(item, #'request:' + 1)), 'still_running', now)
  end
  local own = redis.call('HMGET', watch, 'state', 'unknown_since')
  local otherwise = own[1] ~= 'running' and 'never_seen' or own[2] and 'not_listed' or 'still_running'
  return unresolved.of(project, job, watch, otherwise, now)
end

local function snapshot(project, job)
  local values = redis.call('HMGET', key.watch(project, job), unpack(last_seen))
  local seen = {job_id = job, state = 'overdue'}
  for i, field in ipairs(last_seen) do
    if values[i] then seen[field] = field == 'status' and guard.number(values[i]) or values[i] end
  end
  seen.unresolved = why(project, job)
  return cjson.encode(seen)
end

local work = 0 -- jobs examined
local READ = 50 -- reading all jobs of a registration costs as much as examining so many

-- Calls `visit` with each item of the agenda by which CPH is asked for the open jobs of a registration, until it returns
-- true. An item may come twice. Returns that true.
local function any_item(id, project, request, visit)
  if request and visit('request:' .. request) then return true end
  work = work + READ
  for job, state in pairs(ending.jobs(id)) do
    if state == '' then
      work = work + 1
      if visit(watching.item_of(project, job)) then return true end
    end
  end
end

-- The deadline (ms) that the caller set; 0 if it cannot be read.
local function deadline_of(id)
  local is_json, record = pcall(cjson.decode, redis.call('GET', key.registration(id)) or '')
  return is_json and type(record) == 'table' and guard.number(record.deadline, 0) or 0
end

-- Returns when (ms) to look at the registration again, nil if it is to be ended now.
local function wait_for_last_poll(id, project, request)
  local progress = key.progress(id)
  local own = redis.call('HMGET', progress, 'asked', 'awaits')
  local asked = guard.number(own[1])
  if not asked or asked > now + CHECK_MS then
    local deadline = deadline_of(id)
    if deadline > now then return deadline end -- its place among the deadlines was damaged
    redis.call('HSET', progress, 'asked', now)
    any_item(id, project, request, function(item) watching.poll_now(project, item) end)
    agenda.wake('poll')
    return now + CHECK_MS
  end
  if own[2] == ENDS or now >= asked + tonumber(last_poll_ms) then return nil end
  local function awaits(item)
    if not watching.awaits_poll(project, item) then return false end
    redis.call('HSET', progress, 'awaits', item)
    return true
  end
  if own[2] and awaits(own[2]) or any_item(id, project, request, awaits) then
    return now + math.max(CHECK_MS, math.floor((now - asked) / 2))
  end
  redis.call('HSET', progress, 'awaits', ENDS)
end

-- Returns true if its last open job has ended; the next call continues otherwise.
local function end_registration(id, project)
  local jobs, request = ending.jobs(id), watching.stop_waiting(id)
  if request and not next(jobs) then watching.end_unseen(id, project, request, 'overdue', now, keep_s)
  elseif request then ending.release(id, now, keep_s) end
  local count = 0
  for job, state in pairs(jobs) do
    if state == '' then
      if count >= tonumber(limit) then return false end
      count, work = count + 1, work + 1
      ending.end_job(id, job, 'overdue', snapshot(project, job), now, now, keep_s)
      ending.leave(project, job, id)
    end
  end
  redis.call('ZREM', key.deadlines(), id)
  return true
end

local ended = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.deadlines(), '-inf', now, 'LIMIT', 0, MOST_REGISTRATIONS)) do
  if work >= tonumber(limit) then break end
  local function serve()
    local own = redis.call('HMGET', key.progress(id), 'project', 'request')
    local later = wait_for_last_poll(id, own[1], own[2] or nil)
    if later then redis.call('ZADD', key.deadlines(), later, id)
    elseif end_registration(id, own[1]) then ended = ended + 1 end
  end
  guard.item(id, serve, function() redis.call('ZREM', key.deadlines(), id) end)
end
return {ended, redis.call('ZRANGE', key.deadlines(), 0, 0, 'WITHSCORES')[2] or ''}
