"""Moving windows in Redis; imported where there is one, since its library takes 9 MB and 0.1 s."""

from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from circdesk.edge.windows import FREE, Window

# Seconds that Redis may take to be reached, and again to answer.
_PATIENCE = 0.25

_MICROSECONDS = 1_000_000

# The clock is the server's own, so that all processes have the same; one that was set back leaves
# entries of the future behind, which would count for as long as it was set back.
_SCRIPT = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local act, limit, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function tidy(key)
  local newest = redis.call('LINDEX', key, -1)
  if newest and tonumber(newest) > now then redis.call('DEL', key) end
  local oldest = redis.call('LINDEX', key, 0)
  while oldest and tonumber(oldest) <= now - window do
    redis.call('LPOP', key)
    oldest = redis.call('LINDEX', key, 0)
  end
end

local function take(key, limit)
  tidy(key)
  if redis.call('LLEN', key) >= limit then return 0 end
  redis.call('RPUSH', key, string.format('%.0f', now))
  redis.call('PEXPIRE', key, window / 1000)
  return 1
end

local taken = 0
if act == 'take' then
  taken = take(KEYS[1], limit)
else
  tidy(KEYS[1])
  if act == 'give_back' and take(KEYS[2], limit * tonumber(ARGV[4])) == 1 then
    redis.call('RPOP', KEYS[1])
  end
end
local oldest = redis.call('LINDEX', KEYS[1], 0)
return {taken, redis.call('LLEN', KEYS[1]), oldest and oldest + window - now or 0}
"""


class RedisWindows:
    """The windows that all processes share; each call is one atomic script, with a deadline.

    Every method raises one of `errors` where Redis does not answer in time.
    """

    errors = (RedisError,)

    def __init__(self, url: str) -> None:
        # A connection that has died since its last use is made anew, once.
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        self._redis = Redis.from_url(
            url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE, retry=retry
        )
        self._script = self._redis.register_script(_SCRIPT)

    def take(self, key: str, limit: int, seconds: int) -> Window:
        """Count a request of the subject, if there is still a place for it."""
        return self._run("take", key, limit, seconds)

    def look(self, key: str, limit: int, seconds: int) -> Window:
        """How the subject stands, without counting anything."""
        return self._run("look", key, limit, seconds)

    def give_back(self, key: str, limit: int, seconds: int) -> Window:
        """Free a place that was taken, but not more than `FREE` times the limit in a window."""
        return self._run("give_back", key, limit, seconds)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _run(self, act: str, key: str, limit: int, seconds: int) -> Window:
        keys = [key, f"{key}/free"]
        values: list[str | int] = [act, limit, seconds * _MICROSECONDS, FREE]
        answer: Any = self._script(keys, values)
        taken, used, reset = answer
        return Window(bool(taken), used, reset / _MICROSECONDS)
