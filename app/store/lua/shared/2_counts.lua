-- How many there are in each state, for metrics: counted where the state changes, as nobody could count millions when asked.
local counts = {}

-- One less in `from` and one more in `to`; nil for what is not counted: not there yet, or over.
function counts.move(kind, from, to)
  if from == to then return end
  if from then redis.call('HINCRBY', key.counts(), kind .. ':' .. from, -1) end
  if to then redis.call('HINCRBY', key.counts(), kind .. ':' .. to, 1) end
end
