-- Deliveries that are sent again: the same event, with a new retry schedule.
local redelivery = {}

-- False for a cancelled delivery or registration.
function redelivery.allowed(registration, state)
  return state ~= 'cancelled' and redis.call('HGET', key.progress(registration), 'state') ~= 'cancelled'
end

-- Schedules a redelivery. An attempt in progress keeps its lease: the delivery is sent again only if that one fails.
function redelivery.schedule(id, registration, lane, state, due)
  local delivery, progress = key.delivery(id), key.progress(registration)
  if state ~= 'pending' then
    redis.call('HINCRBY', progress, state, -1)
    redis.call('HINCRBY', progress, 'pending', 1)
    tenancy.count_pending(progress, 1)
    counts.move('delivery', nil, 'pending')
    redis.call('ZREM', key.dead(), id)
    for _, kept in ipairs({delivery, key.attempts(id), key.registration(registration), progress}) do
      redis.call('PERSIST', kept)
    end
  end
  redis.call('HSET', delivery, 'state', 'pending', 'again', due, 'next', due)
  if not redis.call('ZSCORE', key.leased('deliver', lane), id) then agenda.schedule('deliver', lane, id, due) end
end
