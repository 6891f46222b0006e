-- Tells whether Redis still has the data that a process has known; marks a Redis that is empty.
-- args: known (id of the data; '' at first), new (id for an empty Redis), now (ms)
-- Returns: the id of the data.
-- flags: allow-oom
local id = redis.call('HGET', key.data(), 'id')
if not id then
  id = new
  redis.call('HSET', key.data(), 'id', id, 'since', now)
end
if known ~= '' and known ~= id then redis.call('HSET', key.data(), 'lost', now) end
return id
