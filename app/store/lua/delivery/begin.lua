-- Begins an attempt; see attempt.begin.
-- args: id, lane, fence, permit_until (ms)
-- Returns: the attempt's number; how many attempts preceded the current retry schedule; how many were refused since;
--          when the schedule began (ms); how many may have been delivered without confirmation; 1 if the tenant has
--          URLs that answered 410; registration id, its record, end, snapshot, observed (ms), project.
--          {} if the attempt may not begin.
-- item: 'deliver', lane, id
-- flags: allow-oom
return attempt.begin(id, lane, fence, permit_until)
