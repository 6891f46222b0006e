-- ListJobs was asked for a request, or could not be: ask again later. A job that is shown is asked for by its request
-- alone from now on, if anybody waits for it; one that is not, by itself alone.
-- ARGV: now, project, request, fence, due, how many are shown for the first time, these..., those that are missing...
-- Returns: 1, or 0 if the fence is old or the request has no job any more.
-- flags: allow-oom
local project, request, item = ARGV[2], key.request(ARGV[2], ARGV[3]), 'request:' .. ARGV[3]
if not agenda.holds('poll', project, item, ARGV[4]) then return 0 end
agenda.remove('poll', project, item)
local first_missing = 7 + tonumber(ARGV[6])
for i = 7, first_missing - 1 do
  local watch = key.watch(project, ARGV[i])
  if redis.call('EXISTS', watch) == 1 and not redis.call('HGET', watch, 'job') then
    redis.call('HSET', request, 'job:' .. ARGV[i], '1')
    redis.call('HSET', watch, 'request_id', ARGV[3], 'state', 'running')
    agenda.remove('poll', project, ARGV[i])
  end
end
for i = first_missing, #ARGV do
  local watch = key.watch(project, ARGV[i])
  local was_shown = redis.call('HGET', request, 'job:' .. ARGV[i]) == '1'
  redis.call('HDEL', request, 'job:' .. ARGV[i])
  if redis.call('EXISTS', watch) == 1 then
    redis.call('HSET', watch, 'unlisted', '1')
    if was_shown then agenda.schedule('poll', project, ARGV[i], ARGV[1]) end
  end
end
if redis.call('HLEN', request) == 1 then
  redis.call('DEL', request)
  return 0
end
agenda.schedule('poll', project, item, ARGV[5])
return 1
