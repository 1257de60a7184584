"""The sections of the gateway's configuration, each checked when it is read.

Nothing has a default that opens anything: without keys, certificates, policy or log the gateway
does not start, and only loopback may be served without TLS.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from registry.storage.artifacts import Bucket
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError, check_host_port, is_loopback
from sealgate.trust.fields import check_name

_TRANSPORTS = ("auto", "native", "grpcio")


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where gRPC is served: addresses as host:port, one at least."""

    tls: str = ""
    """TLS, for callers with a token or an API key."""
    mutual: str = ""
    """Mutual TLS, for callers with a client certificate."""
    insecure: str = ""
    """Without TLS, on this machine alone."""
    transport: str = "auto"
    """The gRPC transport: `native` needs the package `sealgate-front`; `grpcio` needs nothing;
    `auto` is `native` where that is installed.
    """
    share_ports: bool = False
    """Let other gateways of this machine and user listen on the same addresses. The kernel shares
    out who connects."""

    def __post_init__(self) -> None:
        if self.transport not in _TRANSPORTS:
            raise ConfigError(
                f"[listen] transport = {self.transport!r} is none of {', '.join(_TRANSPORTS)}"
            )
        if not (self.tls or self.mutual or self.insecure):
            raise ConfigError("[listen] names no address: set tls, mutual or both")
        for address in filter(None, (self.tls, self.mutual, self.insecure)):
            check_host_port(f"[listen] {address!r}", address, any_host=True)
        if self.insecure and not is_loopback(self.insecure):
            raise ConfigError(
                f"[listen] insecure = {self.insecure!r} would serve without TLS beyond this "
                "machine; move the address to tls (with [tls] certificate and key), or "
                "use 127.0.0.1"
            )


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The gateway's certificate, and the authority of its callers' certificates. Files are read
    again when they change.
    """

    certificate: Path | None = None
    """The gateway's certificate (PEM), with its chain."""
    key: Path | None = None
    """The certificate's private key (PEM)."""
    client_authority: Path | None = None
    """The authority that signs certificates of callers on `[listen] mutual` (PEM)."""


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """An issuer whose tokens are accepted, with exactly one source of its keys."""

    url: str
    """The issuer, as its tokens name it (`iss`)."""
    audience: str
    """The audience that its tokens must name (`aud`)."""
    key_set: Path | None = None
    """A file with the issuer's keys (RFC 7517), which is read again when it changes."""
    key_set_url: str = ""
    """The https address of the issuer's keys."""
    discovery: bool = False
    """Take the address of the keys from the issuer's OpenID configuration."""
    authority: Path | None = None
    """Trusted for https instead of the system's authorities (PEM)."""
    refresh: float = 300.0
    """Seconds between two fetches of the keys."""
    stale: float = 3600.0
    """For how many seconds after the last successful fetch keys are used."""
    insecure_loopback: bool = False
    """For tests: allow http to this machine for fetching keys."""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.key_set, self.key_set_url, self.discovery))) != 1:
            raise ConfigError(
                f"[tokens] {self.url} needs one of key_set (a file), key_set_url, discovery = true"
            )
        if self.stale < self.refresh:
            raise ConfigError("[tokens] stale must not be shorter than refresh")
        address = self.key_set_url or (self.url if self.discovery else "")
        if address:
            try:
                check_address(address, insecure_loopback=self.insecure_loopback)
            except SealgateError:
                raise ConfigError(f"[tokens] {address!r} is not an https address") from None


@dataclass(frozen=True, slots=True)
class ApiKeySettings:
    """API keys. Without this section they are neither issued nor accepted."""

    mac_key: Path | None = None
    """A private file of 32 random bytes or more, the same on every gateway of a registry."""


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """The engine's trust outside the database: root keys, and the newest state that it saw."""

    root_keys: tuple[Path, ...]
    """The public keys (PEM) of the policy's roots, pinned."""
    threshold: int
    """How many root keys must have signed a policy."""
    policy: Path
    """The first policy, which begins a new registry."""
    seen: Path
    """A file in which the gateway remembers the highest sequences and versions that it has
    verified: it refuses lower ones. Back it up apart from the databases.
    """

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.root_keys):
            raise ConfigError("[trust] threshold must lie between 1 and the number of root_keys")


@dataclass(frozen=True, slots=True)
class RegistryStore:
    """The registry: its database, its log and the models' files. Keys are PEM files or `pkcs11:`
    URIs.
    """

    database: Path | str
    """The path of a SQLite file, or a URL of SQLite or PostgreSQL."""
    artifacts: Path | str
    """Where models' files are kept: a folder, or `s3://bucket/prefix`."""
    origin: str
    """The name of the registry's log, as the policy has it in `logs.registry`."""
    log_key: Path | str
    """The key that signs the registry's log."""
    freshness_key: Path | str
    """The key that signs freshness statements."""
    uploads: Path
    """A folder of this machine, for unfinished uploads."""
    artifacts_endpoint: str = ""
    """The address of the bucket's service, unless it is AWS."""
    artifacts_region: str = ""
    """The bucket's region, where its service asks for one."""
    ml_dsa_key: Path | None = None
    """A file with the ML-DSA-44 key that signs the log too."""
    next_log_key: Path | str | None = None
    """The key that replaces the log's (`sealgate key rotate`); by default the file `NAME.next.key`
    beside it.
    """
    next_freshness_key: Path | str | None = None
    """The key that replaces the one for freshness; by default the file `NAME.next.key` beside it.
    """

    def __post_init__(self) -> None:
        if isinstance(self.artifacts, str):
            self.bucket(self.artifacts)
        elif self.artifacts_endpoint or self.artifacts_region:
            raise ConfigError(
                "[registry] artifacts_endpoint and artifacts_region need artifacts = "
                "'s3://bucket/prefix'; artifacts is a folder here"
            )

    def bucket(self, url: str) -> Bucket:
        """The bucket that `artifacts` names where it is a URL. Raises: ConfigError."""
        try:
            return Bucket.parse(url, self.artifacts_endpoint, self.artifacts_region)
        except ValueError as error:
            raise ConfigError(f"[registry] artifacts {error}") from None


@dataclass(frozen=True, slots=True)
class AnswerStore:
    """This gateway's answer log, and the keys of subjects. Databases and keys are given as in
    `[registry]`.
    """

    database: Path | str
    """The database of the answer log. No other gateway may write to it."""
    subjects: Path | str
    """The database of the subjects' keys. An erasure destroys the key of its subject."""
    origin: str
    """The name of this answer log, as the policy has it in `logs.answers`."""
    log_key: Path | str
    """The key that signs the answer log."""
    ml_dsa_key: Path | None = None
    """A file with the ML-DSA-44 key that signs the log too."""
    next_log_key: Path | str | None = None
    """The key that replaces the log's (`sealgate key rotate`); by default the file `NAME.next.key`
    beside it.
    """
    retention_days: int = 184
    """For how many days entries cannot be pruned."""


@dataclass(frozen=True, slots=True)
class RollbackKey:
    """Automatic rollback within the policy's limits. Without this section, the gateway only logs
    what exceeds them.
    """

    key: Path | str = ""
    """The private key of a principal of the policy whose only role is `rollback`."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The gateway itself."""

    environment: str = ""
    """This gateway's environment, such as "production". A right that names environments holds only
    on gateways of these environments.
    """

    def __post_init__(self) -> None:
        if self.environment:
            try:
                check_name(self.environment)
            except SealgateError:
                raise ConfigError(
                    f"[gateway] environment = {self.environment!r} is not of the form "
                    "[a-z][a-z0-9-]{0,62}"
                ) from None


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Bounds that hold before and after authentication. Times are in seconds."""

    message_bytes: int = 4 * 1024 * 1024
    """The largest message that is taken."""
    connections: int = 256
    """Connections to each listener. While nobody has authenticated on them, more may be open for a
    second."""
    authenticate_within: float = 5.0
    """How long a connection may be open before a call on it has authenticated."""
    unauthenticated_per_address: int = 64
    """Connections of one address, or of one IPv6 network of 64 bits, on which no call has
    authenticated. The oldest beyond are ended."""
    concurrent_calls: int = 512
    """Calls in progress or waiting, on all connections together. The native transport needs no
    thread for a call, and refuses inference beyond three quarters of this number, if that is more
    than threads and waiting calls allow. Of calls whose messages have not come, it takes half of
    this number from one address without an authenticated caller, and three quarters from all.
    """
    streams_per_connection: int = 128
    """Calls at once on one connection."""
    threads: int = 96
    """Calls that are worked on at once. At most three quarters of the threads wait for messages of
    one caller. With the native transport, at most a quarter of them run one slow version.
    """
    waiting_calls: int = 64
    """Calls that may wait for a thread. While so many wait, inference is refused at once."""
    deadline: float = 10.0
    """The most that a call may take, whatever its caller grants."""
    stream: float = 3600.0
    """The most that a stream may take."""
    idle: float = 300.0
    """How long a stream may wait for its other end: for its next request, or to take a part."""
    generation: float = 600.0
    """The most that an answer of a language model may take."""
    watchers: int = 64
    """Streams that may follow changes and logs at once. They take none of the threads above."""
    heartbeat: float = 10.0
    """The longest time between two messages of such a stream."""
    drain: float = 15.0
    """How long calls in progress may go on when the gateway ends."""
    anchor_every: float = 60.0
    """How often the answer log is anchored in the registry's, and shown to witnesses."""


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
