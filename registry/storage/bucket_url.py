"""The URL of an S3-compatible store: `s3://bucket/prefix`, with endpoint and region.

No secret has a place in it. Credentials come from the environment, as the library finds them.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PLACE = re.compile(
    r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)/?"
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, and the prefix in it under which a registry's files lie."""

    name: str
    prefix: str
    endpoint: str = ""
    region: str = ""

    @classmethod
    def parse(cls, url: str, endpoint: str, region: str) -> "Bucket":
        """Raises ValueError, whose text repeats nothing that may be a secret."""
        found = _PLACE.fullmatch(url)
        if found is None:
            raise ValueError(
                "must be a folder or s3://bucket/prefix; credentials stand in the environment "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), never in the URL"
            )
        if endpoint and not _is_endpoint(endpoint):
            raise ValueError("needs an endpoint like https://host:port, http on this machine only")
        return cls(found[1], found[2].strip("/"), endpoint.rstrip("/"), region)


def _is_endpoint(text: str) -> bool:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  (reading it checks it)
    except ValueError:
        return False
    more = "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment
    if not parts.hostname or more:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
