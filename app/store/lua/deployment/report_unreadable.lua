-- Lists what a process could not read (see shared/0_guard.lua).
-- args: what (a key or an id)
-- flags: allow-oom
guard.report(what)
