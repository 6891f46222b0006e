-- Replaces an entry of a list to which entries are only appended, unless the list has expired since it was read.
-- args: name (of the key), index (from 0), old, new
-- Returns: 1; 0 if there is no such entry any more.
if redis.call('LINDEX', name, index) ~= old then return 0 end
redis.call('LSET', name, index, new)
return 1
