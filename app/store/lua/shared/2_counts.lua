-- How many watches and deliveries are in each state, for metrics. They are counted when a state changes: counting millions
-- at every scrape would take too long.
local counts = {}

-- One fewer in state `from`, one more in `to`; nil is a state that is not counted: before the first, after the last.
function counts.move(kind, from, to)
  if from == to then return end
  if from then redis.call('HINCRBY', key.counts(), kind .. ':' .. from, -1) end
  if to then redis.call('HINCRBY', key.counts(), kind .. ':' .. to, 1) end
end
