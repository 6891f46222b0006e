-- What is due in the lane of an attempt that has begun goes along with it: leased as it is, each with a permit. It was
-- paid for with the one token.
-- ARGV: id, lane, fence, permit_until (ms), now, the most that go along
-- Returns: of each that goes along: its id, then what begin.lua says of it.
-- flags: allow-oom
local lane, fence, gathered = ARGV[2], ARGV[3], {}
if not agenda.holds('deliver', lane, ARGV[1], fence) then return gathered end
local due = redis.call('ZRANGEBYSCORE', key.due('deliver', lane), '-inf', ARGV[5], 'LIMIT', 0, ARGV[6])
for _, id in ipairs(due) do
  redis.call('ZREM', key.due('deliver', lane), id)
  redis.call('ZADD', key.leased('deliver', lane), fence, id)
  local begun = attempt.begin(id, lane, fence, ARGV[4])
  if begun[1] then
    gathered[#gathered + 1] = {id, unpack(begun)}
  end
end
return gathered
