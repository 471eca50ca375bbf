#!lua name=latido

-- SPDX-License-Identifier: MIT
--
-- latido_apply: one snapshot into the hash latido:node:<source>, if it is news. Compiled into
-- latido-hot, which loads it as the function library "latido"; README.md beside this file describes
-- the hash. Numbers arrive as text and are stored as they came; they are converted only to be
-- compared, which is exact because epoch, seq and milliseconds stay at or below 2^53.

local EXACT = 9007199254740992
-- unpack() puts its arguments on Lua's stack, which holds 8000.
local CHUNK = 1000

local function number(text)
  local n = tonumber(text)
  if not n or n ~= math.floor(n) or n > EXACT or n < -EXACT then
    return nil
  end
  return n
end

local function each_chunk(command, key, list, from, to)
  while from <= to do
    local last = math.min(from + CHUNK - 1, to)
    redis.call(command, key, unpack(list, from, last))
    from = last + 1
  end
end

-- All fields but the guards _epoch and _seq of every stream: without its _time the next delta of
-- another stream is refused, and that stream then comes in full.
local function reset(key)
  local keep = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if field == '_epoch' or field == '_seq' or string.sub(field, 1, 5) == '_seq:' then
      if not string.find(field, '{', 1, true) then
        keep[#keep + 1] = field
        keep[#keep + 1] = redis.call('HGET', key, field)
      end
    end
  end
  redis.call('DEL', key)
  each_chunk('HSET', key, keep, 1, #keep)
end

-- A new epoch numbers all its streams anew.
local function forget_sequences(key)
  local old = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if field == '_seq' or string.sub(field, 1, 5) == '_seq:' then
      if not string.find(field, '{', 1, true) then
        old[#old + 1] = field
      end
    end
  end
  each_chunk('HDEL', key, old, 1, #old)
end

-- FCALL latido_apply 1 latido:node:<source>
--   1 stream       '' is the main one
--   2 epoch        0: unnumbered
--   3 seq
--   4 time         ms; what is stored as _time
--   5 guard        '1': an unnumbered event older than _time is refused
--   6 interval     ms, 0: irregular
--   7 shape        hash of the shape; '-': known by no hash; '': partial event
--   8 base_epoch   9 base_seq   10 base_time
--                  what this delta was computed from; base_time '': all fields are here
--   11 previous    the shape for which the deletions were computed; '*': drop what is unknown
--   12 expire      s; 0: leave it as it is
--   13 max_fields  a hash that has grown beyond is reset first
--   14 deletions   their number, then the fields to delete, then field value field value ...
-- Returns 1: applied. 0: refused, a newer one is there. 2: base does not match, send all fields.
-- A string: the shape in there, compute the deletions from it (or pass '*') and send again.
local function latido_apply(keys, args)
  local key = keys[1]
  local stream, epoch, seq, time = args[1], number(args[2]), number(args[3]), number(args[4])
  local shape, previous = args[7], args[11]
  local expire, max_fields, deletions = number(args[12]), number(args[13]), number(args[14])
  if #keys ~= 1 or not (epoch and seq and time and expire and max_fields and deletions) then
    return redis.error_reply('ERR latido_apply: malformed arguments')
  end
  local first = 15 + deletions
  if deletions < 0 or #args < first - 1 or (#args - first + 1) % 2 ~= 0 then
    return redis.error_reply('ERR latido_apply: malformed fields')
  end

  local suffix = stream == '' and '' or ':' .. stream
  local f_seq, f_time = '_seq' .. suffix, '_time' .. suffix
  local f_interval, f_shape = '_interval' .. suffix, '_shape' .. suffix
  local have = redis.call('HMGET', key, '_epoch', f_seq, f_time, f_shape)
  local have_epoch = have[1] and number(have[1])
  local have_seq = have[2] and number(have[2])
  local have_time = have[3] and number(have[3])
  local have_shape = have[4]

  if epoch > 0 then
    if have_epoch and (epoch < have_epoch
        or (epoch == have_epoch and have_seq and seq <= have_seq)) then
      return 0
    end
  elseif args[5] == '1' and have_time and time < have_time then
    return 0
  end

  if args[10] ~= '' then
    if have[3] ~= args[10]
        or (args[8] ~= '0' and (have[1] ~= args[8] or have[2] ~= args[9])) then
      return 2
    end
  elseif shape ~= '' and have_shape and (have_shape ~= shape or shape == '-')
      and (previous == '' or have_shape ~= previous) then
    if previous ~= '*' then
      return have_shape
    end
    reset(key)
  end

  if max_fields > 0 and redis.call('HLEN', key) > max_fields then
    if args[10] ~= '' then
      return 2
    end
    reset(key)
  end
  if epoch > 0 and have_epoch and epoch > have_epoch then
    forget_sequences(key)
  end

  each_chunk('HDEL', key, args, 15, first - 1)
  if epoch > 0 then
    redis.call('HSET', key, '_epoch', args[2], f_seq, args[3])
  end
  redis.call('HSET', key, f_time, args[4], f_interval, args[6])
  if shape ~= '' then
    redis.call('HSET', key, f_shape, shape)
  end
  each_chunk('HSET', key, args, first, #args)
  if expire > 0 then
    redis.call('EXPIRE', key, args[12])
  end
  return 1
end

redis.register_function('latido_apply', latido_apply)
