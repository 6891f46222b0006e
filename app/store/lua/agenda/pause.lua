-- Keeps a lane from being served before a moment. A longer pause stands.
-- ARGV: agenda, lane, until (ms)
agenda.pause(ARGV[1], ARGV[2], tonumber(ARGV[3]))
