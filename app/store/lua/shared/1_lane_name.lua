-- Names of delivery lanes: tenant and destination. domain/destination.py has the constants.
local lane_name = {}

function lane_name.join(tenant, address) return tenant .. constant.LANE_SEPARATOR .. address end

-- Returns tenant and destination.
function lane_name.split(lane)
  local at = string.find(lane, constant.LANE_SEPARATOR, 1, true) or #lane + 1
  return string.sub(lane, 1, at - 1), string.sub(lane, at + 1)
end
