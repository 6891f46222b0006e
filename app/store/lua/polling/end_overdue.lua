-- Ends the registrations whose deadline has passed. CPH is first asked once more for their open jobs: an end that it
-- knows already is not hidden because polls were late.
-- args: now (ms), limit (registrations in this call), keep_s, last_poll_ms (how long to wait for these answers),
--       last_seen... (fields of a watch that go into the snapshot)
-- Returns: how many registrations were ended; when the next deadline is (ms; '' if there is none).
-- flags: allow-oom
local CHECK_MS = 200 -- the first wait for the answers; the following ones are longer
now = tonumber(now)

local function snapshot(project, job)
  local values = redis.call('HMGET', key.watch(project, job), unpack(last_seen))
  local seen = {job_id = job, state = 'overdue'}
  for i, field in ipairs(last_seen) do
    if values[i] then seen[field] = field == 'status' and guard.number(values[i]) or values[i] end
  end
  return cjson.encode(seen)
end

-- The items of the agenda by which CPH is asked for the open jobs of a registration.
local function open_items(id, project, request)
  local items = {}
  if request then items['request:' .. request] = true end
  for job, state in pairs(ending.jobs(id)) do
    if state == '' then items[watching.item_of(project, job)] = true end
  end
  return items
end

-- Returns when (ms) to look at the registration again, nil if it is to be ended now.
local function wait_for_last_poll(id, project, request)
  local items = open_items(id, project, request)
  local asked = guard.number(redis.call('HGET', key.progress(id), 'asked'))
  if not asked then
    redis.call('HSET', key.progress(id), 'asked', now)
    for item in pairs(items) do watching.poll_now(project, item) end
    agenda.wake('poll')
    return now + CHECK_MS
  end
  if now >= asked + tonumber(last_poll_ms) then return nil end
  for item in pairs(items) do
    if watching.awaits_poll(project, item) then return now + math.max(CHECK_MS, math.floor((now - asked) / 2)) end
  end
end

local function end_registration(id, project)
  redis.call('ZREM', key.deadlines(), id)
  local jobs, request = ending.jobs(id), watching.stop_waiting(id)
  if request and not next(jobs) then watching.end_unseen(id, request, 'overdue', now, keep_s)
  elseif request then ending.release(id, now, keep_s) end
  for job, state in pairs(jobs) do
    if state == '' then
      ending.end_job(id, job, 'overdue', snapshot(project, job), now, now, keep_s)
      ending.leave(project, job, id)
    end
  end
end

local ended = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.deadlines(), '-inf', now, 'LIMIT', 0, limit)) do
  local function serve()
    local own = redis.call('HMGET', key.progress(id), 'project', 'request')
    local later = wait_for_last_poll(id, own[1], own[2] or nil)
    if later then redis.call('ZADD', key.deadlines(), later, id)
    else
      end_registration(id, own[1])
      ended = ended + 1
    end
  end
  guard.item(id, serve, function() redis.call('ZREM', key.deadlines(), id) end)
end
return {ended, redis.call('ZRANGE', key.deadlines(), 0, 0, 'WITHSCORES')[2] or ''}
