-- Corrects a lane's token bucket after an item that took more or fewer calls than the one that its claim paid for.
-- args: agenda_name, lane, calls (in addition to that one; negative: fewer)
-- flags: allow-oom
local hash = key.lane(agenda_name, lane)
if redis.call('HEXISTS', hash, 'tokens') == 1 then redis.call('HINCRBYFLOAT', hash, 'tokens', -tonumber(calls)) end
