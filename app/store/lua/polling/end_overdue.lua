-- Ends the registrations whose deadline has passed.
-- args: now (ms), limit (registrations in this call), keep_s,
--       last_seen... (fields of a watch that go into the snapshot)
-- Returns: how many registrations were ended; when the next deadline is (ms; '' if there is none).
-- flags: allow-oom
local function snapshot(project, job)
  local values = redis.call('HMGET', key.watch(project, job), unpack(last_seen))
  local seen = {job_id = job, state = 'overdue'}
  for i, field in ipairs(last_seen) do
    if values[i] then seen[field] = field == 'status' and tonumber(values[i]) or values[i] end
  end
  return cjson.encode(seen)
end

local expired = redis.call('ZRANGEBYSCORE', key.deadlines(), '-inf', now, 'LIMIT', 0, limit)
for _, id in ipairs(expired) do
  local project = redis.call('HGET', key.progress(id), 'project')
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
return {#expired, redis.call('ZRANGE', key.deadlines(), 0, 0, 'WITHSCORES')[2] or ''}
