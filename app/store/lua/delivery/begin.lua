-- Begins an attempt: see attempt.begin.
-- args: id, lane, fence, permit_until (ms)
-- Returns: the attempt's number; of these attempts, how many before the current schedule; how many were refused since;
--          when the schedule began; how many may have been delivered unconfirmed; 1 if the tenant has gone URLs;
--          registration id, its record, end, snapshot, observed, project. Nothing if the attempt may not be made.
-- flags: allow-oom
return attempt.begin(id, lane, fence, permit_until)
