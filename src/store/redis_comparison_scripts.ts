/** The scripts of comparisons that run inside Redis. They need no other rights than those of the table. */
import { PRELUDE, type RedisScript } from "./redis_scripts.ts";

/**
 * Keeps an entry. KEYS: its hash, index. ARGV: member of the index, text, how long it is kept, the most entries, what
 * comes before the member in a key. The index has the time of each entry as its score.
 */
export const PUT_COMPARISON: RedisScript = {
  name: "crossfadePutComparison",
  lua: `${PRELUDE}
local entry, index = KEYS[1], KEYS[2]
redis.call('HMGET', entry, 'text')
redis.call('ZCARD', index)
demand({
  { 'HSET', entry, 'a', 'b' }, { 'PEXPIRE', entry, '1' }, { 'ZADD', index, '1', 'a' }, { 'DEL', entry },
  { 'ZREMRANGEBYSCORE', index, '-inf', '1' }, { 'ZPOPMIN', index },
})
local now = nowMs()
redis.call('HSET', entry, 'text', ARGV[2])
redis.call('PEXPIRE', entry, ARGV[3])
redis.call('ZADD', index, whole(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', index, '-inf', whole(now - ARGV[3]))
while redis.call('ZCARD', index) > tonumber(ARGV[4]) do
  local oldest = redis.call('ZPOPMIN', index)
  redis.call('DEL', ARGV[5] .. oldest[1])
end
return 1
`,
};

/** The entries of one route. KEYS: index. ARGV: the route and a colon, what comes before the member in a key. */
export const COMPARISONS_OF: RedisScript = {
  name: "crossfadeComparisonsOf",
  lua: `${PRELUDE}
local found = {}
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(member, 1, #ARGV[1]) == ARGV[1] then
    local text = redis.call('HMGET', ARGV[2] .. member, 'text')[1]
    if text then found[#found + 1] = { string.sub(member, #ARGV[1] + 1), text } end
  end
end
return found
`,
};
