-- Pauses a lane. A longer pause stays in force.
-- args: agenda_name, lane, till (ms)
-- flags: allow-oom
agenda.pause(agenda_name, lane, tonumber(till))
