-- Ends a job for every registration and keeps its outcome.
-- An answer from CPH always counts; `lost` is our own conclusion, so it needs the current lease.
-- args: now (ms), project, job, fence, state, snapshot (JSON), keep_s
-- Returns: how many registrations were waiting.
-- item: 'poll', project, job
-- flags: allow-oom
if state == 'lost' and not agenda.holds('poll', project, job, fence) then return 0 end
return ending.complete(project, job, state, snapshot, now, keep_s)
