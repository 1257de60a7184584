"""The configuration of the events process, `events.toml`, and to which addresses it may deliver.

No name leads into the operator's own network. A host's addresses are looked up once for each
attempt, all of them are checked, and the connection is made to one of those that were checked: a
name that means something else a moment later changes nothing.
"""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self, TypeAlias
from urllib.parse import urlsplit

from sealgate.events.cloud_events import KINDS
from sealgate.network.bounded_connect import Resolve
from sealgate.process_log import LogSettings
from sealgate.reasons import SealgateError
from sealgate.settings import ConfigError, MetricsSettings, read_settings
from sealgate.trust.fields import check_name

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

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
FORMATS = ("cloudevents", "slack", "teams")


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
    if not addresses:
        # Nothing was checked, so nothing may be connected to.
        raise OSError("the name has no address")
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


@dataclass(frozen=True, slots=True)
class EventSourceSettings:
    """The section `[gateway]`: the gateway whose events are sent."""

    profile: Path
    """The `profile.toml` of a principal of the role `events`."""
    from_beginning: bool = False
    """Begin at the log's first entry on the first start, instead of at the next new one."""


@dataclass(frozen=True, slots=True)
class EventStateSettings:
    """The section `[state]`: the queue of events."""

    database: Path
    """A SQLite file with the place in the log, waiting deliveries and dead letters."""
    most_waiting: int = 100_000
    """The most deliveries that may wait. Beyond that, the log is not read further for a while."""


@dataclass(frozen=True, slots=True)
class EventNetworkSettings:
    """The section `[network]`: where deliveries may go."""

    hosts: tuple[str, ...] = ()
    """The only hosts that destinations may name. A name does not include its subdomains."""
    private: tuple[str, ...] = ()
    """Networks that are not public (private, link-local, reserved) to which a host's name may lead,
    such as `10.1.2.0/24`. Others are refused when the connection is made.
    """

    def networks(self) -> tuple[Network, ...]:
        """Raises: ConfigError."""
        try:
            return tuple(map(ipaddress.ip_network, self.private))
        except ValueError as error:
            raise ConfigError(f"[network] private: {error}") from None


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """The section `[delivery]`: attempts to deliver. Times are in seconds."""

    timeout: float = 10.0
    """The most that one attempt may take."""
    first_pause: float = 1.0
    """The pause before the second attempt. Pauses double, less a random part of up to a half."""
    longest_pause: float = 600.0
    """The longest pause between two attempts."""
    give_up: float = 259_200.0
    """How long a delivery is tried before it becomes a dead letter."""
    parallel: int = 4
    """Deliveries to one destination at once, each of another model."""


@dataclass(frozen=True, slots=True)
class EventCheckSettings:
    """The section `[checks]`: regular checks for events that no log records."""

    every: float = 10.0
    """Seconds between two checks."""
    days: tuple[int, ...] = (30, 7, 1)
    """How many days before the end of certificates and policy an event is sent, once for each."""
    gateways: tuple[str, ...] = ()
    """Further gateways, host:port each, whose certificates and callers' sessions are checked."""


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """The section `[[destinations]]`: a webhook."""

    name: str
    """Its name in logs, metrics and dead letters."""
    url: Path | str
    """An https URL. For a URL that is secret: a file with it, readable by its owner alone."""
    secrets: tuple[Path, ...] = ()
    """Files with a secret each (`sealgate events secret`), which only their owner can read. Every
    event is signed with each of them, so that a receiver can change from one to the next. They
    are read again for each attempt.
    """
    format: str = "cloudevents"
    """`cloudevents`, `slack` or `teams`."""
    template: Path | None = None
    """A JSON file to use in place of the format's own; texts in it may have `$kind`, `$title`,
    `$subject`, `$model`, `$time`, `$principal`, `$detail` and `$id`.
    """
    kinds: tuple[str, ...] = ()
    """Only these kinds of events; default: all. `*` stands for any characters, as in
    `proposal.*`."""
    models: tuple[str, ...] = ()
    """Only events of these models; default: all, and those of no model."""
    loopback: bool = False
    """The destination is on this machine: its URL may be http, and must lead to loopback."""
    authority: Path | None = None
    """Trusted for https instead of the system's authorities (PEM)."""

    def __post_init__(self) -> None:
        where = f"[[destinations]] {self.name!r}:"
        try:
            check_name(self.name)
            for model in self.models:
                check_name(model)
        except SealgateError as refusal:
            raise ConfigError(f"{where} {refusal.detail or refusal.reason.sentence}") from None
        if self.format not in FORMATS:
            raise ConfigError(f"{where} format is none of {', '.join(FORMATS)}")
        if self.format == "cloudevents" and not self.secrets:
            raise ConfigError(f"{where} secrets is missing: events are signed")
        if self.format == "cloudevents" and self.template is not None:
            raise ConfigError(f"{where} template is for slack and teams")
        for pattern in self.kinds:
            if not any(fnmatchcase(kind, pattern) for kind in KINDS):
                raise ConfigError(f"{where} there is no kind {pattern!r}")

    def wants(self, kind: str, model: str) -> bool:
        """Whether events of this kind and model go there."""
        named = not self.kinds or any(fnmatchcase(kind, pattern) for pattern in self.kinds)
        return named and (not self.models or model in self.models)


@dataclass(frozen=True, slots=True)
class EventsConfig:
    """Everything that an events process needs to start."""

    gateway: EventSourceSettings
    state: EventStateSettings
    destinations: tuple[DestinationSettings, ...]
    network: EventNetworkSettings = field(default_factory=EventNetworkSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    checks: EventCheckSettings = field(default_factory=EventCheckSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    log: LogSettings = field(default_factory=LogSettings)

    def __post_init__(self) -> None:
        names = [destination.name for destination in self.destinations]
        if len(set(names)) != len(names):
            raise ConfigError("[[destinations]] has a name twice")
        self.network.networks()
        for destination in self.destinations:
            if isinstance(destination.url, str):
                self.check_url(destination, destination.url)

    def check_url(self, destination: DestinationSettings, url: str) -> None:
        """Raises: ConfigError for a URL that the destination must not have, without telling it."""
        where = f"[[destinations]] {destination.name!r}: url"
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ConfigError(f"{where} is not a URL") from None
        if parts.scheme not in ("https", "http") or not host or parts.fragment:
            raise ConfigError(f"{where} is not like https://host/path")
        if parts.username is not None or parts.password is not None:
            raise ConfigError(f"{where} has a user's name or password, which are not sent")
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise ConfigError(f"{where} has characters that a URL must escape")
        if parts.scheme == "http" and not destination.loopback:
            raise ConfigError(f"{where} is not https, and loopback is not set")
        if host not in map(str.lower, self.network.hosts):
            raise ConfigError(f"{where} leads to {host}, which [network] hosts does not name")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises: ConfigError, with what to change."""
        return read_settings(path, cls)
