-- How many watches and deliveries are in each state, for metrics. Each change of state updates them: counting millions
-- at every scrape would take too long.
local counts = {}

-- Counts one fewer in state `from` and one more in `to`. nil: not counted (before the first state, after the last).
function counts.move(kind, from, to)
  if from == to then return end
  if from then redis.call('HINCRBY', key.counts(), kind .. ':' .. from, -1) end
  if to then redis.call('HINCRBY', key.counts(), kind .. ':' .. to, 1) end
end
