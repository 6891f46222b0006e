-- How much of a lane may be handed out: its pace, and what it has learned from being throttled.
local budget = {}

-- What was learned wears off: it doubles in five minutes.
local DOUBLES_MS = 300000

-- The rate of a lane in force, then what was learned, nil if that is not less than its own, or the one given.
function budget.rate(name, lane, rate, now)
  local own = redis.call('HMGET', key.lane(name, lane), 'rate', 'learned', 'learned_at')
  rate = tonumber(own[1] or rate)
  local learned = own[2] and tonumber(own[2]) * 2 ^ ((now - tonumber(own[3])) / DOUBLES_MS)
  if learned and learned < rate then return learned, learned end
  return rate, nil
end

-- Half the rate in force, but no less than the least.
function budget.halve(name, lane, rate, now, least)
  local learned = math.max(budget.rate(name, lane, rate, now) / 2, least)
  redis.call('HSET', key.lane(name, lane), 'learned', tostring(learned), 'learned_at', now)
end

-- Calls left in the bucket of a lane, which holds `burst` seconds' worth; without a rate there is no end of them.
function budget.tokens(name, lane, rate, burst, now)
  if rate <= 0 then return math.huge end
  local most = math.max(1, rate * burst)
  local own = redis.call('HMGET', key.lane(name, lane), 'tokens', 'stamp')
  return math.min(most, tonumber(own[1] or most) + math.max(0, now - tonumber(own[2] or now)) * rate / 1000)
end
