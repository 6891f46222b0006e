-- The names of keys, as in keys.py; a test holds the two together.
local key = {}
function key.registration(id) return 'cph:' .. id end
function key.progress(id) return 'cph:' .. id .. ':progress' end
function key.ends(id) return 'cph:' .. id .. ':ends' end
function key.registrations(tenant) return 'cph:regs:' .. tenant end
function key.deadlines() return 'cph:deadlines' end
function key.watch(project, job) return 'cph:watch:' .. project .. ':' .. job end
function key.request(project, id) return 'cph:request:' .. project .. ':' .. id end
function key.delivery(id) return 'cph:dlv:' .. id end
function key.attempts(id) return 'cph:dlv:' .. id .. ':attempts' end
function key.deliveries(tenant) return 'cph:dlvs:' .. tenant end
function key.gone(tenant) return 'cph:gone:' .. tenant end
function key.tenant_counts(tenant) return 'cph:tenant:' .. tenant end
function key.taken(tenant, window) return 'cph:taken:' .. tenant .. ':' .. window end
function key.api_key(id) return 'cph:key:' .. id end
function key.api_keys(tenant) return 'cph:keys:' .. tenant end
function key.feed(tenant) return 'cph:events:' .. tenant end
function key.destinations(tenant) return 'cph:dests:' .. tenant end
function key.lanes(agenda) return 'cph:' .. agenda .. ':lanes' end
function key.due(agenda, lane) return 'cph:' .. agenda .. ':due:' .. lane end
function key.leased(agenda, lane) return 'cph:' .. agenda .. ':leased:' .. lane end
function key.lane(agenda, lane) return 'cph:' .. agenda .. ':lane:' .. lane end
function key.project(name) return 'cph:project:' .. name end
function key.durations(project, operation) return 'cph:durations:' .. project .. ':' .. operation end
function key.counts() return 'cph:counts' end
function key.dead() return 'cph:dead' end
function key.lanes_that_are(state) return 'cph:lanes:' .. state end
function key.wake(agenda) return 'cph:wake:' .. agenda end
function key.fit() return 'cph:fit' end
