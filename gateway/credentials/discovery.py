"""Where an issuer's keys come from: the address of a key set, or OIDC discovery (section 4)."""

import json
from collections.abc import Callable

from gateway.credentials.fetch import Fetcher
from gateway.credentials.key_sets import KeySet
from sealgate.reasons import Reason, Refusal

_WELL_KNOWN = "/.well-known/openid-configuration"

Fetch = Callable[[], KeySet]


def from_url(fetcher: Fetcher, url: str) -> Fetch:
    """Fetches the key set at `url`."""
    return lambda: KeySet.parse(fetcher.get(url), strict=False)


def by_discovery(fetcher: Fetcher, issuer: str) -> Fetch:
    """Fetches the key set that the issuer's own configuration names, which must be the issuer's.

    What is fetched raises Refusal(KEY_SET_REFUSED) for the configuration of another issuer.
    """

    def fetch() -> KeySet:
        try:
            found = json.loads(fetcher.get(issuer.rstrip("/") + _WELL_KNOWN))
            named, address = found["issuer"], found["jwks_uri"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Refusal(Reason.KEY_SET_REFUSED, "no issuer's configuration") from error
        if named != issuer or not isinstance(address, str):
            raise Refusal(Reason.KEY_SET_REFUSED, "the configuration of another issuer")
        return KeySet.parse(fetcher.get(address), strict=False)

    return fetch
