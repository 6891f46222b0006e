-- Why a job, or all jobs of a request, have no result. The hash of a watch or a request has what its polls brought:
-- `answered` (ms), the last answer of CPH; `failing`, reason and error code of the last poll, unless it was answered.
local unresolved = {}

-- Records a poll. answered: ms, '' without an answer. failing: '' for nothing.
function unresolved.record(hash, answered, failing)
  if answered ~= '' then
    redis.call('HSET', hash, 'answered', answered)
    redis.call('HDEL', hash, 'failing')
  end
  if failing ~= '' then redis.call('HSET', hash, 'failing', failing) end
end

-- True if an item that is due is not polled because its project is paused, or has no calls left.
local function is_throttled(project, item, now)
  local due = redis.call('ZSCORE', key.due('poll', project), item)
  local lane = redis.call('HMGET', key.lane('poll', project), 'not_before', 'tokens')
  return due and tonumber(due) <= now and (guard.number(lane[1], 0) > now or guard.number(lane[2], 1) < 1)
end

-- item: of the agenda, with its hash. otherwise: the reason if the last poll was answered, or there was none.
function unresolved.of(project, item, hash, otherwise, now)
  local own = redis.call('HMGET', hash, 'answered', 'failing')
  local answered = guard.number(own[1])
  local failing = own[2]
  -- While a project is refused, few of its items are polled.
  local refused = guard.number(redis.call('HGET', key.lane('poll', project), 'refused_since'))
  if refused and (answered or 0) < refused then
    failing = redis.call('HGET', key.project(project), 'failing') or 'cph_refused'
  end
  local reason, code = string.match(failing or '', '^(%S+) ?(.*)$')
  if not reason and is_throttled(project, item, now) then reason = 'cph_throttled' end
  return {reason = reason or otherwise, last_answer_at = answered, last_error = code ~= '' and code or nil}
end
