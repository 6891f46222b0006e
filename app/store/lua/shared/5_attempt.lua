-- Attempts of a delivery: each needs a permit.
local attempt = {STATES = {pending = true, delivered = true, dead = true, cancelled = true}}

-- True for the lane of a chat bot, whose readers cannot discard a duplicate message.
local function is_bot(lane) return string.find(lane, constant.BOT_MARK, 1, true) end

-- Grants a permit right before the POST; the permit ends before the lease. Returns what begin.lua documents. Returns {}
-- if the lease has ended, the delivery is not pending any more (it leaves the agenda), or the destination is on hold
-- (it stays due).
function attempt.begin(id, lane, fence, permit_until)
  if not agenda.holds('deliver', lane, id, fence) then return {} end
  local delivery = key.delivery(id)
  local own = redis.call('HMGET', delivery, 'registration', 'state', 'end', 'about', 'observed', 'created', 'tenant',
    'again', 'spent', 'refused', 'began', 'next', 'doubts')
  local held = redis.call('HEXISTS', key.lane('deliver', lane), 'held') == 1
  if own[2] ~= 'pending' or held then
    agenda.remove('deliver', lane, id)
    if not attempt.STATES[own[2]] then guard.report(delivery) end
    if own[2] == 'pending' then agenda.schedule('deliver', lane, id, guard.number(own[12], 0)) end
    return {}
  end
  redis.call('HSET', key.progress(own[1]), 'permit:' .. id, permit_until)
  local number = redis.call('HINCRBY', delivery, 'attempts', 1)
  local spent, refused, doubts = guard.number(own[9], 0), guard.number(own[10], 0), guard.number(own[13], 0)
  local began = guard.number(own[11], guard.number(own[6], 0))
  if own[8] then
    spent, refused, began, doubts = number - 1, 0, guard.number(own[8], began), 0
    redis.call('HSET', delivery, 'spent', spent, 'refused', refused, 'began', began)
    redis.call('HDEL', delivery, 'again')
  end
  -- Until its result is recorded, this attempt may have delivered the message.
  if is_bot(lane) then redis.call('HSET', delivery, 'doubts', doubts + 1) end
  local project = redis.call('HGET', key.progress(own[1]), 'project')
  return {number, spent, refused, began, doubts, redis.call('EXISTS', key.gone(own[7])), own[1],
    redis.call('GET', key.registration(own[1])), own[3], own[4], own[5], project}
end

-- Records that the outcome of an attempt is known: it no longer counts as possibly delivered.
function attempt.confirm(id, lane)
  local doubts = is_bot(lane) and guard.number(redis.call('HGET', key.delivery(id), 'doubts'), 0) or 0
  if doubts > 0 then redis.call('HSET', key.delivery(id), 'doubts', doubts - 1) end
end
