-- Takes a registration: its record, its watches, its place in the index, and the answer to repeat. All or nothing.
-- ARGV: now, id, record, tenant, project, lane, events ('' for the usual), deadline, keep_s,
--       id that those of forgotten ones are below,
--       key of the idempotency record or '', its value, its life in seconds,
--       what the jobs do or '', id of the request of the jobs or '', 1 to try the callback at once,
--       quotas of the tenant (see tenancy.full) or '',
--       rate of its destination, which then takes one message at a time, or '',
--       the caller's traceparent or '',
--       how many jobs are to be watched, these...,
--       then of each job that has ended already: its id (or `#` and a number), state, snapshot (JSON).
--       A request without any job: all that it will show.
-- Returns: 'created', the idempotency record that was there first, or {what the tenant has too many of}.
local now, id, project, keep_s, idempotency = ARGV[1], ARGV[2], ARGV[5], ARGV[9], ARGV[11]
local operation, request, first_job, first_ended = ARGV[14], ARGV[15], 21, 21 + tonumber(ARGV[20])
if idempotency ~= '' then
  local earlier = redis.call('GET', idempotency)
  if earlier then return earlier end
end
if redis.call('EXISTS', key.registration(id)) == 1 then return 'created' end -- sent again, as the answer was lost
local full = ARGV[17] ~= '' and tenancy.full(ARGV[4], string.sub(ARGV[6], #ARGV[4] + 2), ARGV[17])
if full then return {full} end
if idempotency ~= '' then redis.call('SET', idempotency, ARGV[12], 'EX', ARGV[13]) end
tenancy.count(ARGV[4], 'registrations', 1)
redis.call('SET', key.registration(id), ARGV[3])
-- A request without any job is open for one thing more, until all its jobs are known.
local watched, ended = first_ended - first_job, (#ARGV - first_ended + 1) / 3
local all_of_request = watched + ended == 0
local fields = {'tenant', ARGV[4], 'project', project, 'lane', ARGV[6], 'open', all_of_request and 1 or watched + ended}
local function also(field, value)
  fields[#fields + 1] = field
  fields[#fields + 1] = value
end
if ARGV[7] ~= '' then also('events', ARGV[7]) end
if ARGV[19] ~= '' then also('traceparent', ARGV[19]) end
if all_of_request then also('request', request) end
for i = first_job, first_ended - 1 do also('job:' .. ARGV[i], '') end
for i = first_ended, #ARGV, 3 do also('job:' .. ARGV[i], '') end
redis.call('HSET', key.progress(id), unpack(fields))
redis.call('ZADD', key.registrations(ARGV[4]), 0, id)
redis.call('ZREMRANGEBYLEX', key.registrations(ARGV[4]), '-', '(' .. ARGV[10])
redis.call('ZADD', key.deadlines(), ARGV[8], id)
if not tenancy.pulls(ARGV[6]) then destination.used(ARGV[4], ARGV[6], tonumber(now), keep_s) end
if ARGV[18] ~= '' then redis.call('HSET', key.lane('deliver', ARGV[6]), 'rate', ARGV[18], 'most', 1) end
if ARGV[16] == '1' then ending.test(id, now, keep_s) end
local ask, alone = all_of_request, false
if ask then redis.call('HSET', key.request(project, request), id, '') end
for i = first_job, first_ended - 1 do
  local job = ARGV[i]
  local new = watching.watch(id, project, job, now, keep_s, operation)
  local joined = request ~= '' and watching.join(project, job, request, watching.TOLD)
  ask = ask or joined
  if new and joined then redis.call('HSET', key.watch(project, job), 'request_id', request)
  elseif new then
    watching.alone(project, job, now)
    alone = true
  end
end
for i = first_ended, #ARGV, 3 do ending.of_job(id, ARGV[i], ARGV[i + 1], ARGV[i + 2], now, now, keep_s) end
if ask then
  watching.ask_soon(project, request, now)
  if operation ~= '' then redis.call('HSET', key.request(project, request), 'operation', operation) end
elseif alone then agenda.wake('poll') end
return 'created'
