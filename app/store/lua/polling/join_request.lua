-- A job's answer has named its request, so ListJobs may be called for it. Until ListJobs has shown the job, the job is
-- also polled by ShowJob; if ListJobs does not show it, by ShowJob alone from then on.
-- args: now (ms), project, job, request
-- flags: allow-oom
if watching.join(project, job, request, watching.NAMED) and
   redis.call('HEXISTS', key.request(project, request), 'since') == 0 then
  watching.ask_soon(project, request, now)
end
