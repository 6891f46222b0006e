-- Sends dead deliveries of a tenant again, oldest first. Each call examines at most `limit` deliveries, so that it does
-- not block Redis. Deliveries of one lane fall due one after the other, behind those requested earlier.
-- args: now (ms), tenant, first (place in the index to begin at), last (place to end at), limit,
--       registration ('' for all), lane ('' for all), rate (per second and lane), dry_run ('1' only counts)
-- Returns: how many deliveries; the place to continue at ('' at the end).
now, limit = tonumber(now), tonumber(limit)
local spacing = 1000 / tonumber(rate)

local function wanted(own)
  return own[3] == 'dead' and (registration == '' or registration == own[1]) and (lane == '' or lane == own[2])
end

local allowed, free = {}, {} -- by registration; by lane, the next moment without a redelivery

local function may(its_registration, state)
  if allowed[its_registration] == nil then
    allowed[its_registration] = redelivery.allowed(its_registration, state)
  end
  return allowed[its_registration]
end

local function slot(its_lane)
  local last_due = tonumber(redis.call('HGET', key.lane('deliver', its_lane), 'redelivery') or 0)
  local moment = free[its_lane] or math.max(now, last_due)
  free[its_lane] = moment + spacing
  return math.ceil(moment)
end

local count = 0
local entries = redis.call('ZRANGEBYLEX', key.deliveries(tenant), first, last, 'LIMIT', 0, limit)
for _, entry in ipairs(entries) do
  local id = string.sub(entry, 15) -- behind 13 digits and a colon
  local own = redis.call('HMGET', key.delivery(id), 'registration', 'lane', 'state')
  if wanted(own) and may(own[1], own[3]) then
    count = count + 1
    if dry_run ~= '1' then redelivery.schedule(id, own[1], own[2], own[3], slot(own[2])) end
  end
end
for its_lane, moment in pairs(free) do
  redis.call('HSET', key.lane('deliver', its_lane), 'redelivery', string.format('%.3f', moment))
end
if count > 0 and dry_run ~= '1' then agenda.wake('deliver') end
return {count, #entries == limit and '(' .. entries[limit] or ''}
