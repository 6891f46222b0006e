-- Sends dead deliveries of a tenant once more, oldest first: looks at some of them, so that nobody waits for long. Those
-- of one lane fall due one after the other, behind those that were asked for before.
-- ARGV: now, tenant, place to begin at, place to end at, how many to look at, registration ('' for all),
--       lane ('' for all), rate (a second, for each lane), 1 to do nothing but count
-- Returns: how many, and the place to go on at ('' at the end).
local now, tenant, look_at, dry_run = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[5]), ARGV[9] == '1'
local spacing = 1000 / tonumber(ARGV[8])

local function wanted(own)
  return own[3] == 'dead' and (ARGV[6] == '' or ARGV[6] == own[1]) and (ARGV[7] == '' or ARGV[7] == own[2])
end

local allowed, free = {}, {} -- by registration; by lane, the next moment without a redelivery

local function may(registration, state)
  if allowed[registration] == nil then allowed[registration] = redelivery.allowed(registration, state) end
  return allowed[registration]
end

local function slot(lane)
  local moment = free[lane] or math.max(now, tonumber(redis.call('HGET', key.lane('deliver', lane), 'redelivery') or 0))
  free[lane] = moment + spacing
  return math.ceil(moment)
end

local count = 0
local entries = redis.call('ZRANGEBYLEX', key.deliveries(tenant), ARGV[3], ARGV[4], 'LIMIT', 0, look_at)
for _, entry in ipairs(entries) do
  local id = string.sub(entry, 15) -- behind 13 digits and a colon
  local own = redis.call('HMGET', key.delivery(id), 'registration', 'lane', 'state')
  if wanted(own) and may(own[1], own[3]) then
    count = count + 1
    if not dry_run then redelivery.schedule(id, own[1], own[2], own[3], slot(own[2])) end
  end
end
for lane, moment in pairs(free) do
  redis.call('HSET', key.lane('deliver', lane), 'redelivery', string.format('%.3f', moment))
end
if count > 0 and not dry_run then agenda.wake('deliver') end
return {count, #entries == look_at and '(' .. entries[look_at] or ''}
