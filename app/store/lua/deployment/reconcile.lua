-- Examines keys: puts back on the agendas, and into the indexes, what belongs there and is missing.
-- args: now (ms), keep_s, names... (of any keys of the bridge)
-- Returns: how many names it has examined: it ends early after much work; then for each count its name and its share
--          among these keys: `tenant:<name> <count>`, `watch:<state>`, `delivery:pending`.
-- flags: allow-oom
local LONGEST_MS = 8 * 86400 * 1000 -- until a deadline, of 7 days at the most
now = tonumber(now)
local counted, work, done = {}, 0, 0
local MOST_WORK = 500 -- jobs and keys, after which the call ends: it blocks everybody else

local function count(name, by) counted[name] = (counted[name] or 0) + by end

-- False if something is missing that each registration has, or cannot be.
local EVENTS = {nothing = true, succeeded = true, failed = true, lost = true, overdue = true, finished = true}
local ENDS = {[''] = true, succeeded = true, failed = true, lost = true, overdue = true, cancelled = true}
local function is_sound(id, own, jobs)
  local tenant, project, state, request, open, lane, events = unpack(own)
  if not (tenant and project and lane and tonumber(open)) then return false end
  if lane_name.split(lane) ~= tenant then return false end
  if state and state ~= 'finished' and state ~= 'cancelled' then return false end
  for event in string.gmatch(events or '', '[^,]+') do
    if not EVENTS[event] then return false end
  end
  local running = 0
  for _, end_ in pairs(jobs) do
    if not ENDS[end_] then return false end
    if end_ == '' then running = running + 1 end
  end
  local more = tonumber(open) - running -- 1 until all jobs of the request are known
  if not state and more ~= 0 and not (more == 1 and request) then return false end
  if state or events and events ~= '' then return true end
  local record = redis.call('GET', key.registration(id))
  return record and not events and not string.find(record, '"events":') and not string.find(record, '"notify":')
end

-- A registration that is watching has a deadline, and each of its open jobs is watched.
local function registration(id)
  local progress = key.progress(id)
  local own = redis.call('HMGET', progress, 'tenant', 'project', 'state', 'request', 'open', 'lane', 'events')
  if redis.call('EXISTS', progress) == 0 then return end -- it has expired since SCAN returned it
  if own[1] and string.sub(own[1], 1, 1) == ':' then return end -- the operator's watches nothing
  local jobs = ending.jobs(id)
  for _ in pairs(jobs) do work = work + 1 end
  if not is_sound(id, own, jobs) then guard.report(progress) end
  if not own[1] then return end
  redis.call('ZADD', key.registrations(own[1]), 0, id)
  if own[3] then return end
  count('tenant:' .. own[1] .. ' registrations', 1)
  count('tenant:' .. own[1] .. ' jobs', guard.number(own[5], 0))
  local deadline = tonumber(redis.call('ZSCORE', key.deadlines(), id) or '') or math.huge
  if deadline > now + LONGEST_MS then
    local record = redis.call('GET', key.registration(id))
    redis.call('ZADD', key.deadlines(), record and cjson.decode(record).deadline or now, id)
  end
  local open = guard.number(own[5], 0)
  for _, state in pairs(jobs) do
    if state == '' then open = open - 1 end
  end
  -- While it waits for all jobs of its request, it has one open job more than it knows.
  if own[4] and open > 0 and redis.call('HSETNX', key.request(own[2], own[4]), id, '') == 1 then
    turns.share(own[2], 'request:' .. own[4], own[1])
    watching.poll_request_soon(own[2], own[4], now)
  end
  for job, state in pairs(jobs) do
    if state == '' and job ~= '#' then
      local watched = redis.call('HMGET', key.watch(own[2], job), id, 'job')
      if (not watched[1] or watched[2]) and watching.watch(id, own[1], own[2], job, now, keep_s, '') then
        watching.poll_job(own[2], job, now)
      end
    end
  end
end

-- A registration whose progress was deleted. Both expire at the same time.
local function record(id)
  if redis.call('EXISTS', key.progress(id)) == 0 and redis.call('TTL', key.registration(id)) == -1 then
    guard.report(key.progress(id))
  end
end

-- A watched job is polled, by itself or with its request.
local function watch(project, job)
  local name = key.watch(project, job)
  local own = redis.call('HMGET', name, 'state', 'job', 'request_id', 'since')
  if own[2] or redis.call('EXISTS', name) == 0 then return end
  if not own[1] or not tonumber(own[4] or '') then
    guard.report(name)
    redis.call('HSET', name, 'state', own[1] or 'pending', 'since', guard.number(own[4], now))
    own[1] = own[1] or 'pending'
  end
  count('watch:' .. own[1], 1)
  local source = own[3] and redis.call('HGET', key.request(project, own[3]), 'job:' .. job)
  local listed = source == watching.SHOWN or source == watching.CALLER_NAMED
  if not listed and not agenda.has('poll', project, job) then watching.poll_job(project, job, now) end
end

local function request(project, id)
  if redis.call('EXISTS', key.request(project, id)) == 0 then return end
  if not agenda.has('poll', project, 'request:' .. id) then watching.poll_request_soon(project, id, now) end
end

-- A pending delivery is due, leased or on hold.
local function delivery(id)
  local own = redis.call('HMGET', key.delivery(id), 'state', 'lane', 'tenant', 'next', 'created')
  if own[1] == 'pending' and not (own[2] and own[3]) or own[1] and not attempt.STATES[own[1]] then
    guard.report(key.delivery(id))
  end
  if own[1] ~= 'pending' or not own[2] or not own[3] then return end
  count('tenant:' .. own[3] .. ' deliveries', 1)
  count('delivery:pending', 1)
  if not agenda.has('deliver', own[2], id) then agenda.schedule('deliver', own[2], id, guard.number(own[4], now)) end
  redis.call('ZADD', key.deliveries(own[3]), 0, string.format('%013d:%s', guard.number(own[5], now), id))
end

-- Counts of nothing are 0.
local function tenant_counts(tenant)
  for _, what in ipairs({'registrations', 'jobs', 'deliveries'}) do count('tenant:' .. tenant .. ' ' .. what, 0) end
end

local function deployment_counts()
  for _, name in ipairs({'watch:pending', 'watch:running', 'delivery:pending'}) do count(name, 0) end
end

local function lane(name, its_name) agenda.repair(name, its_name, now) end

local KINDS = {
  {'^cph:(reg_[^:]+):progress$', registration},
  {'^cph:(reg_[^:]+)$', record},
  {'^cph:watch:(.+):([^:]+)$', watch},
  {'^cph:request:(.+):([^:]+)$', request},
  {'^cph:dlv:(dlv_[^:]+)$', delivery},
  {'^cph:tenant:(.+)$', tenant_counts},
  {'^cph:counts()$', deployment_counts},
  {'^cph:(%l+):due:(.+)$', lane},
  {'^cph:(%l+):leased:(.+)$', lane},
}
for _, name in ipairs(names) do
  if work >= MOST_WORK then break end
  work, done = work + 1, done + 1
  for _, kind in ipairs(KINDS) do
    local one, two = string.match(name, kind[1])
    if one then guard.item(name, function() kind[2](one, two) end) end
  end
end
local out = {done}
for name, by in pairs(counted) do
  out[#out + 1] = name
  out[#out + 1] = by
end
return out
