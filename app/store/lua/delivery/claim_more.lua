-- Claims what else is due in the lane of an attempt that has begun, to go in the same message: leased under the same
-- fence, each with a permit. One token pays for the whole message.
-- args: id, lane, fence, permit_until (ms), now (ms), limit
-- Returns: of each delivery: its id, then what begin.lua returns.
-- flags: allow-oom
local claimed = {}
if not agenda.holds('deliver', lane, id, fence) then return claimed end
local due = redis.call('ZRANGEBYSCORE', key.due('deliver', lane), '-inf', now, 'LIMIT', 0, limit)
for _, more in ipairs(due) do
  redis.call('ZREM', key.due('deliver', lane), more)
  redis.call('ZADD', key.leased('deliver', lane), fence, more)
  local begun = attempt.begin(more, lane, fence, permit_until)
  if begun[1] then claimed[#claimed + 1] = {more, unpack(begun)} end
end
return claimed
