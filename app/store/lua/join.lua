-- A job's answer has named its request, so ListJobs may be asked for it. Until that has shown the job, it is asked for
-- by itself as well; once it has not, for ever.
-- The first look comes before everything else that is due: it may save all of that.
-- ARGV: now, project, job, request
-- flags: allow-oom
local now, project, job, request = ARGV[1], ARGV[2], ARGV[3], key.request(ARGV[2], ARGV[4])
if redis.call('HGET', key.watch(project, job), 'unlisted') then return 0 end
if redis.call('HSETNX', request, 'since', now) == 1 then
  agenda.schedule('poll', project, 'request:' .. ARGV[4], 0)
  agenda.wake('poll')
end
redis.call('HSETNX', request, 'job:' .. job, '0')
return 1
