-- Writes a value anew unless it has changed since it was read, and keeps the answer to repeat. It lives no longer for it.
-- ARGV: key, the value as it was read, the value from now on,
--       key of the idempotency record or '', its value, its life in seconds
-- Returns: 1, or 0 if the value is not as it was read, or an answer is there already.
local idempotency = ARGV[4]
local is = redis.call('GET', ARGV[1])
if is == ARGV[3] then return 1 end -- sent again, as the answer was lost
if is ~= ARGV[2] then return 0 end
if idempotency ~= '' then
  if not redis.call('SET', idempotency, ARGV[5], 'NX', 'EX', ARGV[6]) then return 0 end
end
redis.call('SET', ARGV[1], ARGV[3], 'KEEPTTL')
return 1
