-- How many watches and deliveries are in each state, for metrics. Each change of state updates them: counting millions
-- at every scrape would take too long.
local counts = {}

-- Notes that a count of the deployment ('') or of a tenant changes.
function counts.note(of, by) redis.call('HINCRBY', key.count_changes(), of, math.abs(by)) end

-- Counts one fewer in state `from` and one more in `to`. nil: not counted (before the first state, after the last).
function counts.move(kind, from, to)
  if from == to then return end
  counts.note('', 1)
  if from then redis.call('HINCRBY', key.counts(), kind .. ':' .. from, -1) end
  if to then redis.call('HINCRBY', key.counts(), kind .. ':' .. to, 1) end
end
