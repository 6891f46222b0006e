-- Stores a registration: its record, its watches, its index entry, and the response to replay if the request is
-- repeated: all of it, or nothing. A registration with a CPH request but no jobs waits for all jobs of that request.
-- args: now (ms), id, record, tenant, project, lane, destination_name (the lane's; '' for none),
--       events ('' for the default), deadline (ms), keep_s, oldest_id (expired registrations have lower ids),
--       idempotency_key ('' for none), idempotency_record, idempotency_life_s,
--       operation ('' if not known), request (id of the jobs' request; '' for none), test ('1' tests the callback now),
--       quotas (see tenancy.exceeded_quota; '' for none),
--       rate (of a destination that takes one message at a time; '' otherwise),
--       traceparent ('' for none), jobs... (to be watched),
--       ended... (of each job that has ended already: id, or `#` and a number; state; snapshot as JSON)
-- Returns: 'created'; the idempotency record of an earlier request; or {name of the quota that is reached}.
if idempotency_key ~= '' then
  local earlier = redis.call('GET', idempotency_key)
  if earlier then return earlier end
end
if redis.call('EXISTS', key.registration(id)) == 1 then return 'created' end -- sent again because the reply was lost
-- A registration for all jobs of a request has one extra open job until all its jobs are known.
local job_count = #jobs + #ended / 3
local all_of_request = job_count == 0
local open = all_of_request and 1 or job_count
local full = quotas ~= '' and tenancy.exceeded_quota(tenant, open, destination_name, quotas)
if full then return {full} end
if quotas ~= '' and tenancy.is_crowded(tenant, project, jobs, all_of_request and request or '') then
  return {'registrations of one job'}
end
if idempotency_key ~= '' then redis.call('SET', idempotency_key, idempotency_record, 'EX', idempotency_life_s) end
tenancy.count(tenant, 'registrations', 1)
tenancy.count(tenant, 'jobs', open)
redis.call('SET', key.registration(id), record)
local fields = {'tenant', tenant, 'project', project, 'lane', lane, 'open', open}
local function add_field(field, value)
  fields[#fields + 1] = field
  fields[#fields + 1] = value
end
if events ~= '' then add_field('events', events) end
if traceparent ~= '' then add_field('traceparent', traceparent) end
if all_of_request then add_field('request', request) end
for _, job in ipairs(jobs) do add_field('job:' .. job, '') end
for i = 1, #ended, 3 do add_field('job:' .. ended[i], '') end
redis.call('HSET', key.progress(id), unpack(fields))
redis.call('ZADD', key.registrations(tenant), 0, id)
redis.call('ZREMRANGEBYLEX', key.registrations(tenant), '-', '(' .. oldest_id)
redis.call('ZADD', key.deadlines(), deadline, id)
if not tenancy.has_no_callback(lane) then destination.record_use(tenant, lane, tonumber(now), keep_s) end
if rate ~= '' then redis.call('HSET', key.lane('deliver', lane), 'rate', rate, 'most', 1) end
if test == '1' then ending.test(id, now, keep_s) end
local poll_request, poll_jobs = all_of_request, false
if poll_request then
  tenancy.wait(key.request(project, request), id, tenant, '')
  turns.share(project, 'request:' .. request, tenant)
end
for _, job in ipairs(jobs) do
  local new = watching.watch(id, tenant, project, job, now, keep_s, operation)
  local joined = request ~= '' and watching.join(project, job, request, watching.CALLER_NAMED)
  poll_request = poll_request or joined
  if new and joined then redis.call('HSET', key.watch(project, job), 'request_id', request)
  elseif new then
    watching.poll_job(project, job, now)
    poll_jobs = true
  end
end
for i = 1, #ended, 3 do ending.end_job(id, ended[i], ended[i + 1], ended[i + 2], now, now, keep_s) end
if poll_request then
  watching.poll_request_soon(project, request, now)
  if operation ~= '' then redis.call('HSET', key.request(project, request), 'operation', operation) end
elseif poll_jobs then agenda.wake('poll') end
return 'created'
