/** The scripts that run inside Redis, each as one atomic step, and the rights that they need. */

/** A script with the name under which a connection knows it. */
export interface RedisScript {
  readonly name: string;
  readonly lua: string;
}

/**
 * What an ACL must allow the user of store.redis, in the words of ACL SETUSER; PREFIX stands for store.redis.prefix.
 * Only clusters need the last four.
 */
export const REDIS_RIGHTS =
  "~{PREFIX}:* &{PREFIX}:* +eval +evalsha +info +ping +time +wait +select +config|get +client|setname " +
  "+subscribe +unsubscribe +publish +exists +del +rename +pexpire +persist +hgetall +hmget +hset +xadd +xlen " +
  "+xrange +xrevrange +xtrim +zadd +zcard +zrange +zrem +zpopmin +zremrangebyscore " +
  "+cluster|slots +cluster|info +asking +readonly";

/*
 * Three rules of every script that writes:
 *
 * It reads each key once before it writes, so that a key of a strange type is met while nothing is done.
 * It asks for all its rights before it writes: an ACL may allow the first of its commands and not the second.
 * Its first write is one that Redis refuses when it is out of memory, a replica, or cannot write to its disk. After
 * the first write Redis refuses nothing any more, so a script is carried out as a whole or not at all.
 *
 * Answers are lists that begin with a word: `done`, `conflict`, `late` (with Redis's clock), `damaged` (with the key).
 */

/** What every script begins with. */
export const PRELUDE = `
local function whole(number) return string.format('%.0f', number) end

local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function demand(commands)
  for _, command in ipairs(commands) do
    if not redis.acl_check_cmd(unpack(command)) then
      error({ err = 'NOPERM this user may not run ' .. command[1] .. ' on ' .. command[2] })
    end
  end
end

local function valueOf(fields, name)
  for place = 1, #fields, 2 do
    if fields[place] == name then return fields[place + 1] end
  end
  return ''
end
`;

/** The table and the log: where they stand, and which ask made a revision. */
const TABLE_PRELUDE = `${PRELUDE}
-- Revision, lineage, bytes in the log; nothing when the key holds something else.
local function standing(key)
  local held = redis.call('HMGET', key, 'revision', 'lineage', 'bytes')
  if not held[1] then
    if redis.call('EXISTS', key) == 1 then return nil end
    return 0, '', 0
  end
  local revision = tonumber(held[1])
  if not revision or not held[2] then return nil end
  return revision, held[2], tonumber(held[3] or '0') or 0
end

local function nonceAt(log, revision)
  local id = whole(revision) .. '-0'
  local found = redis.call('XRANGE', log, id, id)
  if #found == 0 then return nil end
  return valueOf(found[1][2], 'nonce')
end

local function sizeOf(fields)
  return #valueOf(fields, 'document') + #valueOf(fields, 'difference')
end
`;

/** Idempotency keys: a hash each, and an index in the order of use. */
const MARK_PRELUDE = `
-- The nonce of the ask that made a key known, or nothing.
local function knownBy(mark, sinceMs)
  local held = redis.call('HMGET', mark, 'at_ms', 'nonce')
  if held[1] and (tonumber(held[1]) or 0) > sinceMs then return held[2] or '' end
  return nil
end

local function lastUse(index)
  local last = redis.call('ZRANGE', index, 0, 0, 'REV', 'WITHSCORES')
  return tonumber(last[2] or '0')
end

local function rightsToKeep(index, mark)
  return {
    { 'HSET', mark, 'a', 'b' }, { 'DEL', mark }, { 'PEXPIRE', mark, '1' }, { 'PEXPIRE', index, '1' },
    { 'ZADD', index, '1', 'a' }, { 'ZCARD', index }, { 'ZPOPMIN', index },
  }
end

local function keep(index, mark, last, ask, key, fields)
  redis.call('HSET', mark, unpack(fields))
  redis.call('PEXPIRE', mark, whole(ask.keptMs))
  redis.call('ZADD', index, whole(last + 1), key)
  redis.call('PEXPIRE', index, whole(ask.keptMs))
  while redis.call('ZCARD', index) > ask.keysMax do
    local oldest = redis.call('ZPOPMIN', index)
    redis.call('DEL', string.sub(mark, 1, #mark - #key) .. oldest[1])
  end
end
`;

/**
 * Puts a table on top of the one that is expected.
 *
 * KEYS: table, log, index of idempotency keys, idempotency key; the table in place of both where there is none.
 * ARGV: JSON of what is asked, time, actor, action, reason, difference, document, idempotency key, fingerprint.
 * Answers `done REVISION LINEAGE`, also when the same nonce has done it before; `conflict REVISION`, `late NOW`,
 * `damaged KEY`.
 */
export const WRITE: RedisScript = {
  name: "crossfadeWrite",
  lua: `${TABLE_PRELUDE}${MARK_PRELUDE}
local tableKey, log, index, mark = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ask = cjson.decode(ARGV[1])
local revision, lineage, bytes = standing(tableKey)
if not revision then return { 'damaged', tableKey } end
if revision >= ask.target and nonceAt(log, ask.target) == ask.nonce then
  -- Said again, so that a WAIT on this connection has something to wait for.
  redis.call('PUBLISH', ask.channel, whole(revision))
  return { 'done', whole(ask.target), lineage }
end
local isElsewhere = revision ~= ask.expected or (ask.lineage ~= '' and ask.lineage ~= lineage)
if isElsewhere or (ask.isMarked and knownBy(mark, ask.keptSinceMs)) then
  return { 'conflict', whole(revision) }
end
local now = nowMs()
if now > ask.deadlineMs then return { 'late', whole(now) } end

local length = redis.call('XLEN', log)
local last = ask.isMarked and lastUse(index)
demand({
  { 'XADD', log, '1-0', 'a', 'b' }, { 'XTRIM', log, 'MAXLEN', '1' }, { 'XRANGE', log, '-', '+' },
  { 'HSET', tableKey, 'a', 'b' }, { 'PUBLISH', ask.channel, 'a' },
})
if ask.isMarked then demand(rightsToKeep(index, mark)) end

local newLineage = ask.newLineage
if newLineage == '' then newLineage = lineage ~= '' and lineage or ask.freshLineage end
local fields = {
  'from_revision', whole(revision), 'at_ms', ARGV[2], 'actor', ARGV[3], 'action', ARGV[4],
  'reason', ARGV[5], 'difference', ARGV[6], 'document', ARGV[7], 'nonce', ask.nonce,
}
local added = redis.pcall('XADD', log, whole(ask.target) .. '-0', unpack(fields))
if type(added) == 'table' and added.err then
  if string.find(added.err, 'equal or smaller', 1, true) then return { 'damaged', log } end
  return added
end
if length == 0 then bytes = 0 end
length = length + 1
bytes = bytes + sizeOf(fields)
while length > 1 and (length > ask.entriesMax or bytes > ask.bytesMax) do
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  bytes = math.max(0, bytes - sizeOf(oldest[2]))
  length = length - 1
  redis.call('XTRIM', log, 'MAXLEN', whole(length))
end
redis.call('HSET', tableKey, 'revision', whole(ask.target), 'lineage', newLineage,
  'bytes', whole(bytes), unpack(fields))
if ask.isMarked then
  keep(index, mark, last, ask, ARGV[8], {
    'fingerprint', ARGV[9], 'revision', whole(ask.target), 'changed', '1', 'at_ms', ARGV[2], 'nonce', ask.nonce,
  })
end
redis.call('PUBLISH', ask.channel, whole(ask.target))
return { 'done', whole(ask.target), newLineage }
`,
};

/**
 * Makes an idempotency key known.
 *
 * KEYS: index of idempotency keys, idempotency key. ARGV: JSON of what is asked, time, key, fingerprint.
 * Answers `done`, also when the same nonce has done it before; `conflict` when the key is known, `late NOW`.
 */
export const REMEMBER: RedisScript = {
  name: "crossfadeRemember",
  lua: `${PRELUDE}${MARK_PRELUDE}
local index, mark = KEYS[1], KEYS[2]
local ask = cjson.decode(ARGV[1])
local by = knownBy(mark, ask.keptSinceMs)
if by then
  if by ~= ask.nonce then return { 'conflict' } end
  redis.call('PEXPIRE', index, whole(ask.keptMs))
  return { 'done' }
end
local now = nowMs()
if now > ask.deadlineMs then return { 'late', whole(now) } end
local last = lastUse(index)
demand(rightsToKeep(index, mark))
keep(index, mark, last, ask, ARGV[3], {
  'fingerprint', ARGV[4], 'revision', whole(ask.revision), 'changed', '0', 'at_ms', ARGV[2], 'nonce', ask.nonce,
})
return { 'done' }
`,
};

/**
 * Lays entries of a history aside, to be taken over by LOAD or forgotten.
 *
 * KEYS: where. ARGV: how long it is kept, nonce, then of each entry id, from_revision, time, actor, action, reason,
 * difference, document. Answers how many entries lie there.
 */
export const STAGE: RedisScript = {
  name: "crossfadeStage",
  lua: `${PRELUDE}
local names = { 'from_revision', 'at_ms', 'actor', 'action', 'reason', 'difference', 'document' }
demand({ { 'XADD', KEYS[1], '1-0', 'a', 'b' }, { 'PEXPIRE', KEYS[1], '1' } })
for place = 3, #ARGV, #names + 1 do
  local fields = { 'nonce', ARGV[2] }
  for offset, name in ipairs(names) do
    fields[#fields + 1] = name
    fields[#fields + 1] = ARGV[place + offset]
  end
  redis.call('XADD', KEYS[1], ARGV[place], unpack(fields))
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('XLEN', KEYS[1])
`,
};

/**
 * Makes what was laid aside the history of an empty store, and its newest entry the table.
 *
 * KEYS: table, log, where it lies. ARGV: JSON of what is asked. Answers `done`, also when the same nonce has done it
 * before; `conflict` when the store is not empty, `late NOW`, `damaged KEY` when what was laid aside is not whole.
 */
export const LOAD: RedisScript = {
  name: "crossfadeLoad",
  lua: `${TABLE_PRELUDE}
local tableKey, log, staged = KEYS[1], KEYS[2], KEYS[3]
local ask = cjson.decode(ARGV[1])
if redis.call('EXISTS', tableKey, log) > 0 then
  if nonceAt(log, ask.revision) ~= ask.nonce then return { 'conflict' } end
  redis.call('PUBLISH', ask.channel, whole(ask.revision))
  return { 'done' }
end
local now = nowMs()
if now > ask.deadlineMs then return { 'late', whole(now) } end
local id = whole(ask.revision) .. '-0'
local newest = redis.call('XRANGE', staged, id, id)[1]
if not newest or redis.call('XLEN', staged) ~= ask.entries then return { 'damaged', staged } end
demand({
  { 'HSET', tableKey, 'a', 'b' }, { 'RENAME', staged, log }, { 'PERSIST', log }, { 'PUBLISH', ask.channel, 'a' },
})
redis.call('HSET', tableKey, 'revision', whole(ask.revision), 'lineage', ask.lineage,
  'bytes', whole(ask.bytes), unpack(newest[2]))
redis.call('RENAME', staged, log)
redis.call('PERSIST', log)
redis.call('PUBLISH', ask.channel, whole(ask.revision))
return { 'done' }
`,
};

/**
 * Entries of the log without their documents, newest first.
 *
 * KEYS: log. ARGV: where to begin, how many entries, how many bytes of documents may be passed over.
 * Answers whether the end was reached (1 or 0), and the entries.
 */
export const PAGE: RedisScript = {
  name: "crossfadePage",
  lua: `${TABLE_PRELUDE}
local from, limit, bytesMax = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local page, bytes = {}, 0
while #page < limit and bytes < bytesMax do
  local found = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', 1)[1]
  if not found then return { 1, page } end
  bytes = bytes + sizeOf(found[2])
  local kept = {}
  for place = 1, #found[2], 2 do
    if found[2][place] ~= 'document' then
      kept[#kept + 1] = found[2][place]
      kept[#kept + 1] = found[2][place + 1]
    end
  end
  page[#page + 1] = { found[1], kept }
  from = '(' .. found[1]
end
return { 0, page }
`,
};

/** The clock of the server that holds a key, in milliseconds. KEYS: any of ours. */
export const CLOCK: RedisScript = {
  name: "crossfadeClock",
  lua: `${PRELUDE}
return whole(nowMs())
`,
};

/**
 * What an instance says of itself. KEYS: instance, index by the time at which each is believed gone.
 * ARGV: id, how long it is believed to live, channel, applied revision, status, totals.
 */
export const ANNOUNCE: RedisScript = {
  name: "crossfadeAnnounce",
  lua: `${PRELUDE}
local instance, index = KEYS[1], KEYS[2]
local now = nowMs()
redis.call('HMGET', instance, 'applied')
redis.call('ZCARD', index)
demand({
  { 'HSET', instance, 'a', 'b' }, { 'PEXPIRE', instance, '1' }, { 'ZADD', index, '1', 'a' },
  { 'ZREMRANGEBYSCORE', index, '-inf', '1' }, { 'PUBLISH', ARGV[3], 'a' },
})
redis.call('HSET', instance, 'applied', ARGV[4], 'status', ARGV[5], 'totals', ARGV[6])
redis.call('PEXPIRE', instance, ARGV[2])
redis.call('ZADD', index, whole(now + ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', index, '-inf', whole(now))
redis.call('PUBLISH', ARGV[3], ARGV[1] .. ' ' .. ARGV[4])
return 1
`,
};

/** Only the revision that an instance has applied, if it is known. KEYS as ANNOUNCE; ARGV: its first four. */
export const APPLIED: RedisScript = {
  name: "crossfadeApplied",
  lua: `${PRELUDE}
local instance, index = KEYS[1], KEYS[2]
if not redis.call('HMGET', instance, 'applied')[1] then return 0 end
redis.call('ZCARD', index)
demand({
  { 'HSET', instance, 'a', 'b' }, { 'PEXPIRE', instance, '1' }, { 'ZADD', index, '1', 'a' },
  { 'PUBLISH', ARGV[3], 'a' },
})
redis.call('HSET', instance, 'applied', ARGV[4])
redis.call('PEXPIRE', instance, ARGV[2])
redis.call('ZADD', index, whole(nowMs() + ARGV[2]), ARGV[1])
redis.call('PUBLISH', ARGV[3], ARGV[1] .. ' ' .. ARGV[4])
return 1
`,
};

/**
 * The instances that live, in the order of their ids. KEYS: index. ARGV: what comes before the id in an instance's
 * key, the most instances. Answers how many live, and of each id, applied revision, status, totals.
 */
export const LIST: RedisScript = {
  name: "crossfadeList",
  lua: `${PRELUDE}
local ids = redis.call('ZRANGE', KEYS[1], '(' .. whole(nowMs()), '+inf', 'BYSCORE')
table.sort(ids)
local found, alive = {}, 0
for _, id in ipairs(ids) do
  local held = redis.call('HMGET', ARGV[1] .. id, 'applied', 'status', 'totals')
  if held[1] then
    alive = alive + 1
    if alive <= tonumber(ARGV[2]) then found[#found + 1] = { id, held[1], held[2] or '', held[3] or '' } end
  end
end
return { alive, found }
`,
};

/** Every script, for connections to know. */
export const SCRIPTS: readonly RedisScript[] = [
  WRITE,
  REMEMBER,
  STAGE,
  LOAD,
  PAGE,
  CLOCK,
  ANNOUNCE,
  APPLIED,
  LIST,
];
