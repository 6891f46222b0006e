-- A job's answer has named its request: adds the job to it, so that ListJobs is tried. Until ListJobs has shown the
-- job, ShowJob polls it too; if ListJobs does not show it, only ShowJob polls it from then on.
-- args: now (ms), project, job, request, again (1: even if ListJobs did not show it before)
-- item: 'poll', project, job
-- flags: allow-oom
if again == '1' then redis.call('HDEL', key.watch(project, job), 'unlisted') end
if watching.join(project, job, request, watching.JOB_NAMED) and
   redis.call('HEXISTS', key.request(project, request), 'since') == 0 then
  watching.poll_request_soon(project, request, now)
end
