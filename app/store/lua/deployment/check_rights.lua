-- Tests rights that scripts need: writing to keys that the call has not declared, the bridge's and RQ's, and publishing.
-- The keys never exist, and nobody listens to the channel, so nothing changes.
-- args: unused_key, unused_rq_key, unused_rq_channel
-- flags: allow-oom
redis.call('DEL', unused_key)
redis.call('DEL', unused_rq_key)
redis.call('PUBLISH', unused_rq_channel, '')
