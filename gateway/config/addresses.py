"""Addresses of other servers that a configuration may name."""

import ipaddress
from urllib.parse import SplitResult, urlsplit

from sealgate.reasons import Reason, SealgateError


def check_address(url: str, *, insecure_loopback: bool = False) -> SplitResult:
    """Return the parts of an address that may be fetched. Raises SealgateError(KEY_SET_REFUSED).

    `insecure_loopback` also lets http pass, to this machine alone; it is for tests.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise SealgateError(Reason.KEY_SET_REFUSED, "an address is malformed") from error
    plain = url.isascii() and url.isprintable() and " " not in url
    secure = parts.scheme == "https" or (
        insecure_loopback and parts.scheme == "http" and _is_loopback(host)
    )
    if not (secure and plain and host) or parts.username or parts.password or parts.fragment:
        raise SealgateError(Reason.KEY_SET_REFUSED, "an address is not a plain https URL")
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
