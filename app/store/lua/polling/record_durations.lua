-- Counts how long jobs have taken, among those of their operation and among all. When a count would make too many, all
-- of them halve, rounded down: what is old fades.
-- ARGV: project, operation ('' for none), fade above, life (s), bucket of each job...
-- flags: allow-oom
local most = tonumber(ARGV[3])

local function halve(hash)
  local sum, counts = 0, redis.call('HGETALL', hash)
  for i = 1, #counts, 2 do
    local half = math.floor(counts[i + 1] / 2)
    if half == 0 then redis.call('HDEL', hash, counts[i]) else redis.call('HSET', hash, counts[i], half) end
    sum = sum + half
  end
  return sum
end

local function count(hash)
  local sum = 0
  for _, jobs in ipairs(redis.call('HVALS', hash)) do sum = sum + jobs end
  for i = 5, #ARGV do
    redis.call('HINCRBY', hash, ARGV[i], 1)
    sum = sum + 1
    if sum > most then sum = halve(hash) end
  end
  redis.call('EXPIRE', hash, ARGV[4])
end

count(key.durations(ARGV[1], ''))
if ARGV[2] ~= '' then count(key.durations(ARGV[1], ARGV[2])) end
