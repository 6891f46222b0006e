-- A job has ended: keep the outcome, end the job for every registration.
-- What CPH has said counts whoever brings it; that a job is lost is our own conclusion, so it needs the lease.
-- ARGV: now, project, job, fence, state, snapshot (JSON), keep_s
-- Returns: how many registrations had waited.
-- flags: allow-oom
local now, project, job, state, snapshot, keep_s = ARGV[1], ARGV[2], ARGV[3], ARGV[5], ARGV[6], ARGV[7]
local watch = key.watch(project, job)
local known = redis.call('HMGET', watch, 'state', 'job')
if state == 'lost' and not agenda.holds('poll', project, job, ARGV[4]) then return 0 end
agenda.remove('poll', project, job)
ending.leave_request(project, job)
if not known[1] or known[2] then return 0 end
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
  redis.call('HINCRBY', watch, 'asks', 1)
  redis.call('HSET', watch, 'state', state, 'job', snapshot, 'observed', now)
  redis.call('EXPIRE', watch, keep_s)
end
return waited
