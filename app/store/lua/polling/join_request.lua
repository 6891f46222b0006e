-- A job's answer has named its request, so ListJobs may be asked for it. Until that has shown the job, it is asked for
-- by itself as well; once it has not, for ever.
-- ARGV: now, project, job, request
-- flags: allow-oom
local project, request = ARGV[2], ARGV[4]
if watching.join(project, ARGV[3], request, watching.NAMED) and
   redis.call('HEXISTS', key.request(project, request), 'since') == 0 then
  watching.ask_soon(project, request, ARGV[1])
end
