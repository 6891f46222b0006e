-- ListJobs was asked for a request, or could not be: take over what it shows, draw conclusions, ask again later.
-- A registration that looks for all jobs is told of each; it stops when nothing new has come for a while, or when CPH
-- has known no job of the request for the grace time.
-- ARGV: now, project, request, fence, due, keep_s, quiet_ms, grace_ms, where its list goes on (JSON; '' if it was not cut),
--       how many jobs CPH has of it (-1: not known), how many are new here, of each of these: id, state, snapshot (JSON;
--       '' while it runs), then the ids of missing ones
-- Returns: those of the jobs that have ended by this.
-- flags: allow-oom
local now, project, id, due, keep_s, total = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[10])
local request, item, first_missing = key.request(project, id), 'request:' .. id, 12 + 3 * tonumber(ARGV[11])
local looking, news, ended = {}, {}, {}
local again = redis.call('HEXISTS', request, 'again') == 1
local fields = redis.call('HGETALL', request)
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 4) == 'reg_' then looking[fields[i]] = fields[i + 1] end
end

-- What CPH has shown counts, whoever brings it.
for i = 12, first_missing - 1, 3 do
  local job, state = ARGV[i], ARGV[i + 1]
  for registration in pairs(looking) do
    if redis.call('HEXISTS', key.progress(registration), 'job:' .. job) == 0 then
      watching.add(registration, project, job, now, keep_s)
      news[registration] = true
    end
  end
  if state == 'running' then watching.adopt(project, job, id)
  else
    redis.call('HDEL', request, 'job:' .. job) -- the job itself may know of another request, or of none
    if ending.complete(project, job, state, ARGV[i + 2], now, keep_s) > 0 then ended[#ended + 1] = job end
  end
end

-- `seen:<ms>`, the last time that something new came; `unknown:<ms>`, the first time that there was nothing; or ''.
-- One that has come since the question was asked is told next time.
local function look_on(registration, was)
  if was == '' and again then return end
  local kind, since = string.match(was, '(%l+):(%d+)')
  local waited = now - tonumber(since or now)
  if news[registration] or (total > 0 and kind ~= 'seen') then
    redis.call('HSET', request, registration, 'seen:' .. now)
  elseif kind == 'seen' and waited >= tonumber(ARGV[7]) then
    watching.stop_looking(registration)
    ending.release(registration, now, keep_s)
  elseif kind == 'unknown' and waited >= tonumber(ARGV[8]) then
    watching.stop_looking(registration)
    watching.end_unseen(registration, id, 'lost', now, keep_s)
  elseif not kind then
    redis.call('HSET', request, registration, 'unknown:' .. now)
  end
end

if not agenda.holds('poll', project, item, ARGV[4]) then
  -- Whoever asked in the meantime may have given the request up, before this answer brought jobs to it.
  if redis.call('EXISTS', request) == 1 and not agenda.has('poll', project, item) then
    watching.ask_soon(project, id, now)
  end
  return ended
end
agenda.remove('poll', project, item)
redis.call('HDEL', request, 'cut')
for registration, was in pairs(looking) do
  if total >= 0 then look_on(registration, was)
  elseif news[registration] and string.find(was, 'seen:', 1, true) then
    redis.call('HSET', request, registration, 'seen:' .. now)
  end
end
for i = first_missing, #ARGV do watching.miss(project, ARGV[i], id, now) end
if again then due = 0 end
if redis.call('HLEN', request) == 1 + redis.call('HEXISTS', request, 'operation') then
  redis.call('DEL', request)
  return ended
end
if ARGV[9] ~= '' then redis.call('HSET', request, 'cut', ARGV[9]) end
agenda.schedule('poll', project, item, due)
return ended
