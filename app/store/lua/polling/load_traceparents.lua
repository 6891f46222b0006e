-- The callers' traces that a call to CPH about an item of the agenda is a part of: of the registrations behind its watch;
-- of those that look for the jobs of its request, and of those behind the watches of these jobs.
-- ARGV: project, item
-- Returns: traceparents, each once.
local LOOKED_AT = 128 -- jobs, and registrations: the SDK keeps no more links of a span, if nobody says otherwise
local project, found, known, left = ARGV[1], {}, {}, LOOKED_AT

local function take(traceparent)
  if traceparent and not known[traceparent] then
    known[traceparent] = true
    found[#found + 1] = traceparent
  end
end

-- Takes those of the registrations that a hash names; the jobs that it names. Of a large one, a step of HSCAN shows some.
local function look(hash)
  local jobs, fields = {}, redis.call('HSCAN', hash, 0, 'COUNT', 2 * LOOKED_AT)[2]
  for i = 1, #fields, 2 do
    local field = fields[i]
    if string.sub(field, 1, 4) == 'job:' then jobs[#jobs + 1] = string.sub(field, 5)
    elseif string.sub(field, 1, 4) == 'reg_' and not known[field] and left > 0 then
      known[field], left = true, left - 1
      take(redis.call('HGET', key.progress(field), 'traceparent'))
    end
  end
  return jobs
end

local request = string.match(ARGV[2], '^request:(.*)$')
if request then
  local jobs = look(key.request(project, request))
  for i = 1, math.min(#jobs, LOOKED_AT) do look(key.watch(project, jobs[i])) end
else
  look(key.watch(project, ARGV[2]))
end
return found
