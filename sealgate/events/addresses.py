"""Which addresses a delivery may go to, so that no name leads into the operator's own network.

A host's addresses are looked up once for each attempt, all of them are checked, and the connection
is made to one of those that were checked: a name that means something else a moment later
changes nothing.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[..., Sequence[Any]]

# Where clouds tell their machines credentials; some are otherwise public, or in private networks
# that an operator has reason to name. So each must be named by itself.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            *("169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16"),
            *("192.0.0.192", "100.100.100.200", "fd00:ec2::254", "fd00:ec2::23"),
            *("fd00:c1::a9fe:a9fe", "fd20:ce::254"),
        ),
    )
)
# NAT64 (RFC 6052): the last four bytes are an IPv4 address.
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
# Beside what the library knows: IPv6 beyond global unicast, 6to4, documentation, and IETF's own.
_PUBLIC_V6 = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("2002::/16", "3fff::/20", "192.0.0.0/24")))


class AddressRefused(Exception):
    """A delivery that must not be made, with the reason."""


def checked_addresses(
    host: str,
    port: int,
    named: Sequence[Network],
    *,
    loopback: bool = False,
    resolve: Resolve = socket.getaddrinfo,
) -> list[str]:
    """The addresses of `host`, of which every one may be connected to.

    `named` are networks that are allowed though they are not public. With `loopback`, only
    loopback is allowed. Raises AddressRefused; OSError where there is no such host.
    """
    found = resolve(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    for address in addresses:
        if reason := refused(ipaddress.ip_address(address), named, loopback=loopback):
            raise AddressRefused(f"{host} is {address}: {reason}")
    return addresses


def refused(address: Address, named: Sequence[Network], *, loopback: bool = False) -> str:
    """Why an address must not be connected to; empty where it may."""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        # With its zone an address is equal to none of ours.
        address = ipaddress.IPv6Address(int(address))
    inner = embedded(address)
    if inner is not None:
        return refused(inner, named, loopback=loopback)
    if loopback:
        return "" if address.is_loopback else "not loopback, though the destination says so"
    if address.is_loopback:
        return "loopback, and the destination does not say so"
    if address in _METADATA:
        by_itself = ipaddress.ip_network(address) in named
        return "" if by_itself else "a cloud's metadata service"
    if any(address in network for network in named):
        return ""
    for word, holds in (
        ("unspecified", address.is_unspecified),
        ("multicast", address.is_multicast),
        ("link-local", address.is_link_local),
        ("private", address.is_private),
        ("not public", not _is_public(address)),
    ):
        if holds:
            return f"{word}, and [network] private does not name it"
    return ""


def embedded(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address stands for, where packets end there."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped


def _is_public(address: Address) -> bool:
    if address.version == 6 and address not in _PUBLIC_V6:
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)
