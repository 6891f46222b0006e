-- Records the result of ListJobs for a request (none, if the call was not possible): stores the jobs that it showed,
-- ends those that have ended, and schedules the next call. Each job is added to every registration that waits for all
-- jobs. It stops waiting when no new job has come for `quiet_ms`, or CPH has known no job for `grace_ms`.
-- args: now (ms), project, request, fence, due (ms), keep_s, quiet_ms, grace_ms,
--       failing (why CPH has not answered, or knows no such request; '' for nothing), answered (ms; '' if it has not),
--       cursor (where its list continues, JSON; '' if the list was complete),
--       total (how many jobs of the request CPH has; -1 if not known),
--       shown... (of each job: id, state, snapshot as JSON or '' while it runs), missing... (ids)
-- Returns: the ids of the jobs that this has ended for a registration.
-- item: 'poll', project, 'request:' .. request
-- flags: allow-oom
total = tonumber(total)
local hash, item = key.request(project, request), 'request:' .. request
local waiting, got_new, ended = {}, {}, {}
local again = redis.call('HEXISTS', hash, 'again') == 1
local fields = redis.call('HGETALL', hash)
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 4) == 'reg_' then waiting[fields[i]] = fields[i + 1] end
end

-- An answer from CPH counts, even if the lease has ended.
for i = 1, #shown, 3 do
  local job, state, snapshot = shown[i], shown[i + 1], shown[i + 2]
  for registration in pairs(waiting) do
    if redis.call('HEXISTS', key.progress(registration), 'job:' .. job) == 0 then
      watching.add_job(registration, project, job, now, keep_s)
      got_new[registration] = true
    end
  end
  if state == 'running' then watching.record_shown(project, job, request)
  else
    redis.call('HDEL', hash, 'job:' .. job) -- the job itself may name another request, or none
    if ending.complete(project, job, state, snapshot, now, keep_s) > 0 then ended[#ended + 1] = job end
  end
end

-- Updates what a registration waits for. was: `seen:<ms>`, when a new job last came; `unknown:<ms>`, when CPH first
-- knew no job; or ''. A registration that came after the call began waits for the next call.
local function update_waiting(registration, was)
  if was == '' and again then return end
  local kind, since = string.match(was, '(%l+):(%d+)')
  local waited = now - guard.number(since, now)
  if got_new[registration] or (total > 0 and kind ~= 'seen') then
    redis.call('HSET', hash, registration, 'seen:' .. now)
  elseif kind == 'seen' and waited >= tonumber(quiet_ms) then
    watching.stop_waiting(registration)
    ending.release(registration, now, keep_s)
  elseif kind == 'unknown' and waited >= tonumber(grace_ms) then
    watching.stop_waiting(registration)
    watching.end_unseen(registration, project, request, 'lost', now, keep_s)
  elseif not kind then
    redis.call('HSET', hash, registration, 'unknown:' .. now)
  end
end

if not agenda.holds('poll', project, item, fence) then
  -- Another worker may have taken the request off the agenda before this answer added jobs to it.
  if redis.call('EXISTS', hash) == 1 and not agenda.has('poll', project, item) then
    watching.poll_request_soon(project, request, now)
  end
  return ended
end
agenda.remove('poll', project, item)
redis.call('HDEL', hash, 'cut')
unresolved.record(hash, answered, failing)
for registration, was in pairs(waiting) do
  if total >= 0 then update_waiting(registration, was)
  elseif got_new[registration] and string.find(was, 'seen:', 1, true) then
    redis.call('HSET', hash, registration, 'seen:' .. now)
  end
end
for _, job in ipairs(missing) do watching.record_missing(project, job, request, now) end
-- Nobody needs the request any more. An older version leaves `by:…` behind.
local needed = false
for _, field in ipairs(redis.call('HKEYS', hash)) do
  if string.find(field, '^job:') or string.find(field, '^reg_') then needed = true break end
end
if not needed then
  redis.call('DEL', hash)
  return ended
end
if cursor ~= '' then redis.call('HSET', hash, 'cut', cursor) end
agenda.schedule('poll', project, item, again and 0 or tonumber(due))
return ended
