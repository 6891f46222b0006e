-- Which items are claimed when more are due than can be claimed.
local fairness = {}

-- How many items without patience may go first in a row while others wait, so that no item waits for ever.
local MAX_PASSED = 7

-- Returns the class whose first item is claimed next, and the new `passed`: how many items without patience have gone
-- first in a row. waited: how long an item has waited, relative to its patience.
local function choose(classes, now, passed, waited)
  local first, other, longest = nil, nil, -1
  for _, class in ipairs(classes) do
    local item = class.items[class.taken + 1]
    local long = item and item.due <= now and waited(class.class, item.due)
    if long == math.huge then first = class
    elseif long and long > longest then other, longest = class, long end
  end
  if first and (not other or passed < MAX_PASSED) then return first, other and passed + 1 or 0 end
  return other, 0
end

-- Returns up to `count` due items in the order in which they are claimed, and the new `passed` (see above).
-- due: key of the sorted set. by_age: orders by due time alone. A due time of 0 means "before all others", not a time.
function fairness.take(due, now, count, passed, by_age)
  local function waited(class, since)
    if by_age then return since > 0 and now - since or 0 end
    return class == 0 and math.huge or (now - since) / agenda.patience(class)
  end
  local classes, items = agenda.classes(due, count), {}
  for _, class in ipairs(classes) do class.taken = 0 end
  while #items < count do
    local class, passed_now = choose(classes, now, passed, waited)
    if not class then break end
    class.taken, passed = class.taken + 1, passed_now
    items[#items + 1] = class.items[class.taken]
  end
  return items, passed
end
