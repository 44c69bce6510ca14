"""What runs inside Redis, each script one atomic step of the protocol in docs/consistency.md.

A hash holds one account's copy: field `@` is the account's version, each other field a phone at one level, with the
value `version:status:occurred_at`. A fill hash holds its token under `token`, and what writers left for the fill.
"""

from __future__ import annotations

import hashlib

_RAISE = """
local function version_of(value)
    return tonumber(string.match(value, '^%d+'))
end
local function raise(key, field, value)
    local old = redis.call('HGET', key, field)
    if not old or version_of(old) < version_of(value) then
        redis.call('HSET', key, field, value)
    end
end
"""

# KEYS: hash, fill hash. ARGV: the account's version, then field and value of each row.
# A hash without '@' is no copy: nothing is written to it. A fill on its way gets the same rows: it may have read
# before the write.
APPLY = (
    _RAISE
    + """
local function apply(key)
    for i = 2, #ARGV, 2 do
        raise(key, ARGV[i], ARGV[i + 1])
    end
    raise(key, '@', ARGV[1])
end
if redis.call('HEXISTS', KEYS[1], '@') == 1 then apply(KEYS[1]) end
if redis.call('HEXISTS', KEYS[2], 'token') == 1 then apply(KEYS[2]) end
return 1
"""
)

# KEYS: fill hash. ARGV: token, lifetime in ms. 1 if the token was taken, 0 if somebody else fills.
TAKE_FILL = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

# KEYS: fill hash, temporary hash. ARGV: token, lifetime in ms, then fields and values to add. 0 if the fill was lost.
ADD_TO_FILL = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    redis.call('UNLINK', KEYS[2])
    return 0
end
redis.call('HSET', KEYS[2], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
"""

# KEYS: fill hash, temporary hash, hash. ARGV: token, number of fields sent, lifetime in ms. 1 if it is installed.
# The count catches a temporary hash that was evicted or ran out on the way: a hash is complete or it is absent.
INSTALL_FILL = (
    _RAISE
    + """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
    redis.call('UNLINK', KEYS[2])
    return 0
end
if redis.call('HLEN', KEYS[2]) ~= tonumber(ARGV[2]) then
    redis.call('UNLINK', KEYS[1], KEYS[2])
    return 0
end
local left = redis.call('HGETALL', KEYS[1])
for i = 1, #left, 2 do
    if left[i] ~= 'token' then raise(KEYS[2], left[i], left[i + 1]) end
end
redis.call('RENAME', KEYS[2], KEYS[3])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
redis.call('UNLINK', KEYS[1])
return 1
"""
)

ALL = (APPLY, TAKE_FILL, ADD_TO_FILL, INSTALL_FILL)


def sha(script: str) -> str:
    """The name by which EVALSHA knows a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
