-- ListJobs was called for a request, or could not be: stores what it showed, ends what has ended, and calls again later.
-- A registration that waits for all jobs is told about each. It stops waiting when nothing new has come for `quiet_ms`, or
-- when CPH has known no job of the request for `grace_ms`.
-- args: now (ms), project, request, fence, due (ms), keep_s, quiet_ms, grace_ms,
--       cursor (where its list continues, JSON; '' if the list was complete),
--       total (how many jobs CPH has of it; -1 if not known),
--       shown... (of each job: id, state, snapshot as JSON or '' while it runs), missing... (ids)
-- Returns: the jobs that this has ended.
-- flags: allow-oom
total = tonumber(total)
local hash, item = key.request(project, request), 'request:' .. request
local waiting, told, ended = {}, {}, {}
local again = redis.call('HEXISTS', hash, 'again') == 1
local fields = redis.call('HGETALL', hash)
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 4) == 'reg_' then waiting[fields[i]] = fields[i + 1] end
end

-- An answer from CPH counts, whoever brings it.
for i = 1, #shown, 3 do
  local job, state, snapshot = shown[i], shown[i + 1], shown[i + 2]
  for registration in pairs(waiting) do
    if redis.call('HEXISTS', key.progress(registration), 'job:' .. job) == 0 then
      watching.add(registration, project, job, now, keep_s)
      told[registration] = true
    end
  end
  if state == 'running' then watching.adopt(project, job, request)
  else
    redis.call('HDEL', hash, 'job:' .. job) -- the job itself may name another request, or none
    if ending.complete(project, job, state, snapshot, now, keep_s) > 0 then ended[#ended + 1] = job end
  end
end

-- `seen:<ms>`: when something new came last; `unknown:<ms>`: when CPH knew no job for the first time; or ''.
-- A registration that came after the call began is told next time.
local function wait_on(registration, was)
  if was == '' and again then return end
  local kind, since = string.match(was, '(%l+):(%d+)')
  local waited = now - tonumber(since or now)
  if told[registration] or (total > 0 and kind ~= 'seen') then
    redis.call('HSET', hash, registration, 'seen:' .. now)
  elseif kind == 'seen' and waited >= tonumber(quiet_ms) then
    watching.stop_looking(registration)
    ending.release(registration, now, keep_s)
  elseif kind == 'unknown' and waited >= tonumber(grace_ms) then
    watching.stop_looking(registration)
    watching.end_unseen(registration, request, 'lost', now, keep_s)
  elseif not kind then
    redis.call('HSET', hash, registration, 'unknown:' .. now)
  end
end

if not agenda.holds('poll', project, item, fence) then
  -- Another worker may have dropped the request before this answer brought jobs to it.
  if redis.call('EXISTS', hash) == 1 and not agenda.has('poll', project, item) then
    watching.ask_soon(project, request, now)
  end
  return ended
end
agenda.remove('poll', project, item)
redis.call('HDEL', hash, 'cut')
for registration, was in pairs(waiting) do
  if total >= 0 then wait_on(registration, was)
  elseif told[registration] and string.find(was, 'seen:', 1, true) then
    redis.call('HSET', hash, registration, 'seen:' .. now)
  end
end
for _, job in ipairs(missing) do watching.miss(project, job, request, now) end
if redis.call('HLEN', hash) == 1 + redis.call('HEXISTS', hash, 'operation') then
  redis.call('DEL', hash)
  return ended
end
if cursor ~= '' then redis.call('HSET', hash, 'cut', cursor) end
agenda.schedule('poll', project, item, again and 0 or tonumber(due))
return ended
