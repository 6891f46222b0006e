-- A job goes on: remember what was seen, ask again later.
-- ARGV: project, job, fence, due, patience (ms), field, value, ... (what is new; '' forgets)
-- Returns: 1, or 0 if the fence is old or nobody waits for the job any more.
-- flags: allow-oom
local project, job = ARGV[1], ARGV[2]
local watch = key.watch(project, job)
if not agenda.holds('poll', project, job, ARGV[3]) then return 0 end
agenda.remove('poll', project, job)
local was = redis.call('HGET', watch, 'state')
if not was then return 0 end
for i = 6, #ARGV, 2 do
  if ARGV[i] == 'state' then counts.move('watch', was, ARGV[i + 1]) end
  if ARGV[i + 1] == '' then redis.call('HDEL', watch, ARGV[i]) else redis.call('HSET', watch, ARGV[i], ARGV[i + 1]) end
end
agenda.schedule('poll', project, job, ARGV[4], ARGV[5])
return 1
