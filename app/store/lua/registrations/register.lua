-- Stores a registration: its record, its watches, its place in the index, and the answer for repeats of the request. All
-- of it, or nothing. A request without jobs stands for all jobs that it will show.
-- args: now (ms), id, record, tenant, project, lane, destination_name (the lane's; '' for none), events ('' for the default),
--       deadline (ms), keep_s, oldest_id (expired registrations have lower ids),
--       idempotency_key ('' for none), idempotency_record, idempotency_life_s,
--       operation ('' if not known), request (id of the jobs' request; '' for none), test ('1' tests the callback now),
--       quotas (see tenancy.full; '' for none), rate (of a destination that takes one message at a time; '' otherwise),
--       traceparent ('' for none), jobs... (to be watched),
--       ended... (of each job that has ended already: id, or `#` and a number; state; snapshot as JSON)
-- Returns: 'created'; or the idempotency record that was there first; or {the quota that is reached}.
if idempotency_key ~= '' then
  local earlier = redis.call('GET', idempotency_key)
  if earlier then return earlier end
end
if redis.call('EXISTS', key.registration(id)) == 1 then return 'created' end -- sent again because the reply was lost
local full = quotas ~= '' and tenancy.full(tenant, destination_name, quotas)
if full then return {full} end
if idempotency_key ~= '' then redis.call('SET', idempotency_key, idempotency_record, 'EX', idempotency_life_s) end
tenancy.count(tenant, 'registrations', 1)
redis.call('SET', key.registration(id), record)
-- A request without jobs counts as one open job until all its jobs are known.
local job_count = #jobs + #ended / 3
local all_of_request = job_count == 0
local fields = {'tenant', tenant, 'project', project, 'lane', lane, 'open', all_of_request and 1 or job_count}
local function also(field, value)
  fields[#fields + 1] = field
  fields[#fields + 1] = value
end
if events ~= '' then also('events', events) end
if traceparent ~= '' then also('traceparent', traceparent) end
if all_of_request then also('request', request) end
for _, job in ipairs(jobs) do also('job:' .. job, '') end
for i = 1, #ended, 3 do also('job:' .. ended[i], '') end
redis.call('HSET', key.progress(id), unpack(fields))
redis.call('ZADD', key.registrations(tenant), 0, id)
redis.call('ZREMRANGEBYLEX', key.registrations(tenant), '-', '(' .. oldest_id)
redis.call('ZADD', key.deadlines(), deadline, id)
if not tenancy.pulls(lane) then destination.used(tenant, lane, tonumber(now), keep_s) end
if rate ~= '' then redis.call('HSET', key.lane('deliver', lane), 'rate', rate, 'most', 1) end
if test == '1' then ending.test(id, now, keep_s) end
local ask, alone = all_of_request, false
if ask then redis.call('HSET', key.request(project, request), id, '') end
for _, job in ipairs(jobs) do
  local new = watching.watch(id, project, job, now, keep_s, operation)
  local joined = request ~= '' and watching.join(project, job, request, watching.TOLD)
  ask = ask or joined
  if new and joined then redis.call('HSET', key.watch(project, job), 'request_id', request)
  elseif new then
    watching.alone(project, job, now)
    alone = true
  end
end
for i = 1, #ended, 3 do ending.of_job(id, ended[i], ended[i + 1], ended[i + 2], now, now, keep_s) end
if ask then
  watching.ask_soon(project, request, now)
  if operation ~= '' then redis.call('HSET', key.request(project, request), 'operation', operation) end
elseif alone then agenda.wake('poll') end
return 'created'
