-- Adds durations of jobs to the histograms of their operation and of all jobs. When a histogram holds more than
-- `fade_above` jobs, its counts are halved and rounded down, so that old values fade.
-- args: project, operation ('' for none), fade_above, keep_s, buckets... (of each job)
-- flags: allow-oom
fade_above = tonumber(fade_above)

local function halve(hash)
  local sum, jobs_by_bucket = 0, redis.call('HGETALL', hash)
  for i = 1, #jobs_by_bucket, 2 do
    local bucket, half = jobs_by_bucket[i], math.floor(guard.number(jobs_by_bucket[i + 1], 0) / 2)
    if half == 0 then redis.call('HDEL', hash, bucket) else redis.call('HSET', hash, bucket, half) end
    sum = sum + half
  end
  return sum
end

local function count(hash)
  local sum = 0
  for _, jobs in ipairs(redis.call('HVALS', hash)) do sum = sum + guard.number(jobs, 0) end
  for _, bucket in ipairs(buckets) do
    redis.call('HINCRBY', hash, bucket, 1)
    sum = sum + 1
    if sum > fade_above then sum = halve(hash) end
  end
  redis.call('EXPIRE', hash, keep_s)
end

count(key.durations(project, ''))
if operation ~= '' then count(key.durations(project, operation)) end
