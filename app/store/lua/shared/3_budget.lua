-- The rate limit of a lane: its token bucket, and the rate learned from 429 answers and signs of overload.
local budget = {}

-- The learned rate recovers: it doubles every five minutes.
local DOUBLES_MS = 300000
local MOST_DEBT = 600 -- seconds of the rate; a larger one is damage

-- Returns a lane's effective rate (per second); then the learned rate, nil unless it is lower than the configured one.
-- rate: for a lane without its own.
function budget.rate(name, lane, rate, now)
  local own = redis.call('HMGET', key.lane(name, lane), 'rate', 'learned', 'learned_at')
  rate = guard.number(own[1], tonumber(rate))
  local learned = guard.number(own[2])
  learned = learned and learned * 2 ^ (math.max(0, now - guard.number(own[3], now)) / DOUBLES_MS)
  if learned and learned > 0 and learned < rate then return learned, learned end
  return rate, nil
end

-- Halves the effective rate, but not below `least`.
function budget.halve(name, lane, rate, now, least)
  local learned = math.max(budget.rate(name, lane, rate, now) / 2, least)
  redis.call('HSET', key.lane(name, lane), 'learned', tostring(learned), 'learned_at', now)
end

-- Calls left in the token bucket of a lane, which holds `burst` seconds of its rate; a rate of 0 is unlimited. A lane
-- whose concurrency is capped (chat bots) has a bucket of one: some services ban a bot for a single excess call.
function budget.tokens(name, lane, rate, burst, now)
  if rate <= 0 then return math.huge end
  local own = redis.call('HMGET', key.lane(name, lane), 'tokens', 'stamp', 'most')
  local most = own[3] and 1 or math.max(1, rate * burst)
  return math.min(most, math.max(MOST_DEBT * -rate, guard.number(own[1], most)) + math.max(0, now - guard.number(own[2], now)) * rate / 1000)
end
