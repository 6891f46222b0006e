-- Returns the traceparents of the registrations for which an item of the agenda is polled: those that wait for a job;
-- for a request, those that wait for all of its jobs or for one of them.
-- args: project, item
-- Returns: traceparents, each once.
-- flags: allow-oom
local LIMIT = 128 -- jobs, and registrations: by default, the SDK keeps no more links of a span
local found, known, left = {}, {}, LIMIT

local function add(traceparent)
  if traceparent and not known[traceparent] then
    known[traceparent] = true
    found[#found + 1] = traceparent
  end
end

-- Adds the traceparents of the registrations that a hash names; returns the jobs that it names. One step of HSCAN
-- bounds the cost: of a large hash it returns a part.
local function read(hash)
  local jobs, fields = {}, redis.call('HSCAN', hash, 0, 'COUNT', 2 * LIMIT)[2]
  for i = 1, #fields, 2 do
    local field = fields[i]
    if string.sub(field, 1, 4) == 'job:' then jobs[#jobs + 1] = string.sub(field, 5)
    elseif string.sub(field, 1, 4) == 'reg_' and not known[field] and left > 0 then
      known[field], left = true, left - 1
      add(redis.call('HGET', key.progress(field), 'traceparent'))
    end
  end
  return jobs
end

local request = string.match(item, '^request:(.*)$')
if request then
  local jobs = read(key.request(project, request))
  for i = 1, math.min(#jobs, LIMIT) do read(key.watch(project, jobs[i])) end
else
  read(key.watch(project, item))
end
return found
