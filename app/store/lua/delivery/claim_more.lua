-- Claims more due deliveries of an attempt's lane, to be sent in the same message: each gets a lease with the same
-- fence and a permit. The message takes one token of the rate limit in all.
-- args: id, lane, fence, permit_until (ms), now (ms), limit
-- Returns: for each delivery its id, then what begin.lua returns.
-- flags: allow-oom
local claimed = {}
if not agenda.holds('deliver', lane, id, fence) then return claimed end
local due = redis.call('ZRANGEBYSCORE', key.due('deliver', lane), '-inf', now, 'LIMIT', 0, limit)
for _, more in ipairs(due) do
  redis.call('ZREM', key.due('deliver', lane), more)
  redis.call('ZADD', key.leased('deliver', lane), fence, more)
  local function begin() return attempt.begin(more, lane, fence, permit_until) end
  local started = guard.item(more, begin, function() agenda.remove('deliver', lane, more) end) or {}
  if started[1] then claimed[#claimed + 1] = {more, unpack(started)} end
end
return claimed
