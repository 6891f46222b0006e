-- Schedules dead deliveries of a tenant to be sent again, oldest first. A call examines at most `limit` deliveries, so
-- as not to block Redis. Deliveries of one lane fall due one after the other, after those redelivered earlier.
-- args: now (ms), tenant, first, last (ends of the range in the index), limit,
--       registration ('' for all), lane ('' for all), rate (per second and lane), dry_run ('1' only counts)
-- Returns: how many deliveries; the next `first` ('' at the end).
now, limit = tonumber(now), tonumber(limit)
local spacing = 1000 / tonumber(rate)

local function is_selected(own)
  return own[3] == 'dead' and (registration == '' or registration == own[1]) and (lane == '' or lane == own[2])
end

local allowed, free = {}, {} -- by registration; by lane, the next free due time (ms)

local function is_allowed(its_registration, state)
  if allowed[its_registration] == nil then
    allowed[its_registration] = redelivery.allowed(its_registration, state)
  end
  return allowed[its_registration]
end

local function slot(its_lane)
  local function stored() return guard.number(redis.call('HGET', key.lane('deliver', its_lane), 'redelivery'), 0) end
  local moment = free[its_lane] or math.max(now, stored())
  free[its_lane] = moment + spacing
  return math.ceil(moment)
end

local count = 0
local entries = redis.call('ZRANGEBYLEX', key.deliveries(tenant), first, last, 'LIMIT', 0, limit)
for _, entry in ipairs(entries) do
  local id = string.sub(entry, 15) -- behind 13 digits and a colon
  local own = redis.call('HMGET', key.delivery(id), 'registration', 'lane', 'state')
  if is_selected(own) and is_allowed(own[1], own[3]) then
    count = count + 1
    if dry_run ~= '1' then redelivery.schedule(id, own[1], own[2], own[3], slot(own[2])) end
  end
end
for its_lane, moment in pairs(free) do
  redis.call('HSET', key.lane('deliver', its_lane), 'redelivery', string.format('%.3f', moment))
end
if count > 0 and dry_run ~= '1' then agenda.wake('deliver') end
return {count, #entries == limit and '(' .. entries[limit] or ''}
