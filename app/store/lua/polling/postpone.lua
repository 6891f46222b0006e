-- A job is still running: stores the changed fields, and schedules the next poll.
-- args: project, job, fence, due (ms), patience (ms), changes... (field, value; '' deletes the field)
-- Returns: 1; 0 if the lease has ended or no registration waits for the job any more.
-- item: 'poll', project, job
-- flags: allow-oom
local watch = key.watch(project, job)
if not agenda.holds('poll', project, job, fence) then return 0 end
agenda.remove('poll', project, job)
local was = redis.call('HGET', watch, 'state')
if not was then return 0 end
for i = 1, #changes, 2 do
  local field, value = changes[i], changes[i + 1]
  if field == 'state' then counts.move('watch', was, value) end
  if value == '' then redis.call('HDEL', watch, field) else redis.call('HSET', watch, field, value) end
end
agenda.schedule('poll', project, job, due, patience)
return 1
