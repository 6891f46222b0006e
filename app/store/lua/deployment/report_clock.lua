-- Records that the clock of a machine is wrong, or right again. Forgets machines that have not reported for long.
-- args: machine, ahead (ms; '' if it is right), now (ms)
-- flags: allow-oom
local LIFE_MS = 300000
local clocks = key.wrong_clocks()
redis.call('HSET', clocks, machine, ahead .. ' ' .. now)
local all = redis.call('HGETALL', clocks)
for i = 1, #all, 2 do
  local wrong, reported = string.match(all[i + 1], '^(-?%d+) (%d+)$')
  if not wrong or math.abs(now - reported) > LIFE_MS then redis.call('HDEL', clocks, all[i]) end
end
