-- Replaces a value unless it has changed since it was read, and stores the response to replay if the request is
-- repeated. The value keeps its time to live.
-- args: name (of the key), old, new,
--       idempotency_key ('' for none), idempotency_record, idempotency_life_s
-- Returns: 1; 0 if the value has changed, or a response is stored already.
-- flags: allow-oom
local value = redis.call('GET', name)
if value == new then return 1 end -- sent again because the reply was lost
if value ~= old then return 0 end
if idempotency_key ~= '' then
  if not redis.call('SET', idempotency_key, idempotency_record, 'NX', 'EX', idempotency_life_s) then return 0 end
end
redis.call('SET', name, new, 'KEEPTTL')
return 1
