-- Which items are claimed when more are due than can be claimed.
local fairness = {}

-- Items without patience pass the others at most so many times in a row, so that no item waits for ever.
local MOST_PASSED = 7

-- The next class. `waited`: how long its first item has waited, relative to its patience. `passed`: how many times in a row
-- the others have been passed.
local function choose(classes, now, passed, waited)
  local first, other, longest = nil, nil, -1
  for _, class in ipairs(classes) do
    local item = class.items[class.taken + 1]
    local long = item and item.due <= now and waited(class.class, item.due)
    if long == math.huge then first = class
    elseif long and long > longest then other, longest = class, long end
  end
  if first and (not other or passed < MOST_PASSED) then return first, other and passed + 1 or 0 end
  return other, 0
end

-- Up to `count` due items, in the order in which they are claimed; how many times the others have been passed now; and
-- when the first of the remaining items is due, nil if none remains.
-- by_age: ordered by due time alone; a due time of 0 means "before all others", not a time.
function fairness.take(name, lane, now, count, passed, by_age)
  local function waited(class, due)
    if by_age then return due > 0 and now - due or 0 end
    return class == 0 and math.huge or (now - due) / agenda.patience(class)
  end
  local classes, items, stays = agenda.classes(name, lane, count + 1), {}, nil
  for _, class in ipairs(classes) do class.taken = 0 end
  while #items < count do
    local class, passed_now = choose(classes, now, passed, waited)
    if not class then break end
    class.taken, passed = class.taken + 1, passed_now
    items[#items + 1] = class.items[class.taken]
  end
  for _, class in ipairs(classes) do
    local item = class.items[class.taken + 1]
    if item then stays = math.min(stays or math.huge, item.due) end
  end
  return items, passed, stays
end
