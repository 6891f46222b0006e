-- Corrects a lane's token bucket after work that took more or fewer calls than the one it was claimed for.
-- args: agenda_name, lane, calls (in addition; negative: fewer)
-- flags: allow-oom
local hash = key.lane(agenda_name, lane)
if redis.call('HEXISTS', hash, 'tokens') == 1 then redis.call('HINCRBYFLOAT', hash, 'tokens', -tonumber(calls)) end
