-- Runs the script, as function `verb`, once for each call.
-- ARGV: for each call how many arguments it has, then these.
-- Returns: the answer to each.
local answers, place = {}, 1
while ARGV[place] do
  local arguments = {}
  for i = 1, tonumber(ARGV[place]) do arguments[i] = ARGV[place + i] end
  answers[#answers + 1] = verb(arguments) or false
  place = place + 1 + #arguments
end
return answers
