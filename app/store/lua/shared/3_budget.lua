-- How many items of a lane may be claimed: its rate limit, and the rate learned from being throttled.
local budget = {}

-- The learned rate recovers: it doubles every five minutes.
local DOUBLES_MS = 300000

-- The rate in force of a lane; then the learned rate, nil if it is not lower than the lane's own or the one given.
function budget.rate(name, lane, rate, now)
  local own = redis.call('HMGET', key.lane(name, lane), 'rate', 'learned', 'learned_at')
  rate = tonumber(own[1] or rate)
  local learned = own[2] and tonumber(own[2]) * 2 ^ ((now - tonumber(own[3])) / DOUBLES_MS)
  if learned and learned < rate then return learned, learned end
  return rate, nil
end

-- Halves the rate in force, but not below `least`.
function budget.halve(name, lane, rate, now, least)
  local learned = math.max(budget.rate(name, lane, rate, now) / 2, least)
  redis.call('HSET', key.lane(name, lane), 'learned', tostring(learned), 'learned_at', now)
end

-- Calls left in the bucket of a lane, which holds `burst` seconds of its rate; without a rate there is no limit. Where only
-- one call at a time is allowed, the bucket holds one: a service that bans for one call too many gets no burst.
function budget.tokens(name, lane, rate, burst, now)
  if rate <= 0 then return math.huge end
  local own = redis.call('HMGET', key.lane(name, lane), 'tokens', 'stamp', 'most')
  local most = own[3] and 1 or math.max(1, rate * burst)
  return math.min(most, tonumber(own[1] or most) + math.max(0, now - tonumber(own[2] or now)) * rate / 1000)
end
