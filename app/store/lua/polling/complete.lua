-- A job has ended: keep the outcome, end the job for every registration.
-- What CPH has said counts whoever brings it; that a job is lost is our own conclusion, so it needs the lease.
-- ARGV: now, project, job, fence, state, snapshot (JSON), keep_s
-- Returns: how many registrations had waited.
-- flags: allow-oom
local project, job, state = ARGV[2], ARGV[3], ARGV[5]
if state == 'lost' and not agenda.holds('poll', project, job, ARGV[4]) then return 0 end
return ending.complete(project, job, state, ARGV[6], ARGV[1], ARGV[7])
