-- Work cost more calls than it was handed out for, or fewer: the bucket of its lane is put right.
-- ARGV: agenda, lane, calls more (or, below zero, fewer)
-- flags: allow-oom
local lane = key.lane(ARGV[1], ARGV[2])
if redis.call('HEXISTS', lane, 'tokens') == 1 then redis.call('HINCRBYFLOAT', lane, 'tokens', -tonumber(ARGV[3])) end
