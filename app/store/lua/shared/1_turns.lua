-- Turns of tenants in a project's lane. The lane's due items are in one sorted set; those for which a tenant waits are
-- also in a set of its own, with the same scores. An item with several tenants may be claimed in the turn of each.
local turns = {}

-- The hash of a polled item: of a request or of a watched job.
local function polled(project, id)
  local request = string.match(id, '^request:(.*)$')
  return request and key.request(project, request) or key.watch(project, id)
end

-- The tenants that wait for an item.
function turns.tenants_of(project, id)
  local tenants = {}
  for tenant in string.gmatch(redis.call('HGET', polled(project, id), 'tenants') or '', '%S+') do
    tenants[#tenants + 1] = tenant
  end
  return tenants
end

local function put(project, tenant, id, score)
  redis.call('ZADD', key.tenant_due(project, tenant), score, id)
  redis.call('ZADD', key.turns(project), 'NX', 0, tenant)
end

-- A due item has a new score.
function turns.put(project, id, score)
  for _, tenant in ipairs(turns.tenants_of(project, id)) do put(project, tenant, id, score) end
end

-- An item is not due any more.
function turns.remove(project, id)
  for _, tenant in ipairs(turns.tenants_of(project, id)) do redis.call('ZREM', key.tenant_due(project, tenant), id) end
end

-- One more tenant waits for an item.
function turns.share(project, id, tenant)
  local tenants = turns.tenants_of(project, id)
  for _, other in ipairs(tenants) do
    if other == tenant then return end
  end
  tenants[#tenants + 1] = tenant
  redis.call('HSET', polled(project, id), 'tenants', table.concat(tenants, ' '))
  local score = redis.call('ZSCORE', key.due('poll', project), id)
  if score then put(project, tenant, id, score) end
end

-- The keys of all tenants' sets.
function turns.sets(project)
  local sets = {}
  for _, tenant in ipairs(redis.call('ZRANGE', key.turns(project), 0, -1)) do
    if tenant ~= '' then sets[#sets + 1] = key.tenant_due(project, tenant) end
  end
  return sets
end

-- Returns the sets from which to claim: {tenant = …, due = key}, the one that was served longest ago first. If an item
-- may be in no tenant's set, the set of all items takes a turn as well, with the tenant ''.
local MOST_TENANTS = 50 -- that are examined in a call
function turns.in_order(project, now)
  local tenants = redis.call('ZRANGE', key.turns(project), 0, MOST_TENANTS - 1)
  local order, at, own = {}, 1, 0
  for _, tenant in ipairs(tenants) do
    local due = key.tenant_due(project, tenant)
    local items = redis.call('ZCARD', due)
    own = own + items
    if tenant == '' then at = #order + 1
    elseif items > 0 then order[#order + 1] = {tenant = tenant, due = due}
    else redis.call('ZREM', key.turns(project), tenant) end
  end
  if own ~= redis.call('ZCARD', key.due('poll', project)) then
    table.insert(order, at, {tenant = '', due = key.due('poll', project)})
  end
  -- The next call examines others.
  if #tenants == MOST_TENANTS then
    for _, tenant in ipairs(tenants) do redis.call('ZADD', key.turns(project), 'XX', now, tenant) end
  end
  return order
end

function turns.served(project, tenant, now) redis.call('ZADD', key.turns(project), now, tenant) end
