"""Sessions in Redis: one stream each, of bounded length, that ends some time after its last row."""

from collections.abc import Sequence

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from redis.retry import Retry

from gateway.admission import CircuitBreaker
from gateway.sessions.session_rows import LONGEST_ROW, REMEMBERED
from sealgate.reasons import Reason, SealgateError

_ANSWER_SECONDS = 1.0

# KEYS: the session's stream. ARGV: the cursor, how many rows are kept, for how many seconds, how
# many bytes a row has at most; then the rows. Where the entry at the cursor is gone, all others are
# newer: it was trimmed, or the server has lost the stream.
_EXCHANGE = b"""
local stream, cursor, longest = KEYS[1], ARGV[1], tonumber(ARGV[4])
for number = 5, #ARGV do
    redis.call('XADD', stream, 'MAXLEN', ARGV[2], '*', 'row', ARGV[number])
end
redis.call('EXPIRE', stream, ARGV[3])
local found = cursor == '' and {} or redis.call('XRANGE', stream, cursor, '+')
if #found > 0 and found[1][1] == cursor then
    table.remove(found, 1)
else
    found = redis.call('XRANGE', stream, '-', '+')
end
local rows = {}
for number, entry in ipairs(found) do
    local names = entry[2]
    if #names ~= 2 or names[1] ~= 'row' or #names[2] > longest then
        return redis.error_reply('ERR a row is not ours')
    end
    rows[number] = names[2]
    cursor = entry[1]
end
return {cursor, rows}
"""


class RedisStore:
    """Connects when first asked."""

    def __init__(self, url: str, kept_seconds: int) -> None:
        """Raises ValueError for a URL of another form."""
        self._redis = Redis.from_url(
            url.replace("redis+unix://", "unix://", 1),
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        self._exchange = self._redis.register_script(_EXCHANGE)
        self._kept_seconds = kept_seconds
        self._breaker = CircuitBreaker(Reason.SESSION_UNKNOWN)

    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        """See `Store`. A retry after a lost answer appends twice, which is a repeated row."""
        keys = [f"sealgate:session:{session}"]
        given: list[bytes | str | int] = [cursor, REMEMBERED, self._kept_seconds, LONGEST_ROW]
        given += rows[-REMEMBERED:]
        try:
            with self._breaker.calling(ConnectionError, TimeoutError):
                last, found = self._exchange(keys, given)
        except RedisError as error:
            raise SealgateError(Reason.SESSION_UNKNOWN, str(error), _ANSWER_SECONDS) from error
        return found, last.decode()

    def close(self) -> None:
        self._redis.close()
