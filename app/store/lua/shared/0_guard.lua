-- One bad record costs itself. A key of a wrong type is moved aside, a field that should be a number is deleted, and the
-- call is made again, as if they had never been there. What a script cannot read otherwise ends the work on one item.
-- All of it is listed in `unreadable`, and reported by the dispatcher.
local raw, guard = redis, {}
local MOST_LISTED, KEEP_S = 1000, 14 * 86400

-- Lists what could not be read: the name of a key, of a key and a field, or an id.
function guard.report(what)
  local list, now = key.unreadable(), raw.call('TIME')
  local reply = raw.pcall('ZADD', list, now[1] * 1000, what)
  if type(reply) == 'table' then raw.call('DEL', list) end
  raw.call('ZREMRANGEBYRANK', list, 0, -MOST_LISTED - 1)
end

-- Makes a key or a field readable. Returns false if the error has another cause.
local function mend(reason, command, name, field)
  if string.find(reason, '^WRONGTYPE') then
    raw.call('RENAME', name, key.aside(name))
    raw.call('EXPIRE', key.aside(name), KEEP_S)
    guard.report(name)
  elseif string.find(command, '^HINCRBY') and string.find(reason, 'hash value is not') then
    raw.call('HDEL', name, field)
    guard.report(name .. ' ' .. field)
  else return false end
  return true
end

local redis = setmetatable({}, {__index = raw})

function redis.call(...)
  local reply = raw.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if not mend(reply.err, ...) then error(reply) end
  return raw.call(...)
end

-- Calls a function that works on one item. If it fails because of the item, calls `give_up`, which must need little.
-- Returns what the function returns, nil if it failed. An error of Redis itself (memory, replicas, rights) is raised.
function guard.item(what, work, give_up)
  local done, result = pcall(work)
  if done then return result end
  local reason = type(result) == 'table' and result.err or result
  if type(result) == 'table' and not string.find(reason, '^ERR ') then error(result) end
  raw.log(raw.LOG_WARNING, what .. ' cannot be read: ' .. reason)
  guard.report(what)
  if give_up then give_up() end
end

-- Returns a stored number; the default if it is missing or no number.
function guard.number(value, default)
  local number = tonumber(value or '')
  if not number or number ~= number or math.abs(number) == math.huge then return default end
  return number
end
