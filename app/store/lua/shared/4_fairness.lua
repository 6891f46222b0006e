-- Who has a turn where not all that is due can be handed out.
local turns = {}

-- What goes first passes the others no more often than this in a row, so that each has its turn in the end.
local MOST_PASSED = 7

-- Which class is next; `waited` says how long its first has waited, and `passed` how often the others have been passed.
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

-- Up to `count` that are due, in the order in which they are handed out; how often the others have been passed now; and
-- when the first of those that stay is due, nil if none stays.
-- by_age: in the order of their due times alone; zero is none, it stands for "before all others".
function turns.take(name, lane, now, count, passed, by_age)
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
