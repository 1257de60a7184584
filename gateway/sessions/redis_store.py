"""Sessions in Redis: one stream each, of bounded length, that ends some time after its last row."""

from collections.abc import Sequence

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from gateway.sessions.evidence import REMEMBERED
from sealgate.reasons import Reason, Refusal

_ANSWER_SECONDS = 1.0
_ROW = b"row"


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
        self._kept_seconds = kept_seconds

    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        """See `Store`. A retry after a lost answer appends twice, which is a repeated row."""
        key = f"sealgate:session:{session}"
        try:
            with self._redis.pipeline(transaction=True) as pipe:
                for row in rows:
                    pipe.xadd(key, {_ROW: row}, maxlen=REMEMBERED, approximate=False)
                pipe.expire(key, self._kept_seconds)
                pipe.xrange(key, f"({cursor}" if cursor else "-", "+")
                found = pipe.execute()[-1]
        except RedisError as error:
            raise Refusal(Reason.SESSION_UNKNOWN, str(error), _ANSWER_SECONDS) from error
        return [values[_ROW] for _, values in found], found[-1][0].decode() if found else cursor

    def close(self) -> None:
        self._redis.close()
