-- Begins an attempt: see attempt.begin.
-- ARGV: id, lane, fence, permit_until (ms)
-- Returns: attempt number; of these, how many before its schedule began, and how many were refused since; when it began;
--          how many may have arrived although nobody said so; 1 if the tenant has URLs that are gone; registration id,
--          its record, how it ended, snapshot, observed, project; nothing if not wanted.
-- flags: allow-oom
return attempt.begin(ARGV[1], ARGV[2], ARGV[3], ARGV[4])
