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
    """Addresses, `host:port`. `tls` expects a token from callers, `mutual` a client certificate."""

    tls: str = ""
    mutual: str = ""
    insecure: str = ""
    """Without TLS, for this machine alone."""
    transport: str = "auto"
    """What speaks gRPC there: `native` needs the package `sealgate-front`; `grpcio` needs nothing;
    `auto` is `native` where that is installed."""
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
    certificate: Path | None = None
    """The gateway's certificate (PEM), with its chain."""
    key: Path | None = None
    """The certificate's private key (PEM)."""
    client_authority: Path | None = None
    """The authority that signs certificates of callers on `[listen] mutual` (PEM)."""


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """An issuer whose tokens are accepted. Its keys are in a file (`key_set`), which is read again
    when it changes, at an https address (`key_set_url`), or where its OIDC configuration says
    (`discovery`).

    Fetched keys are renewed every `refresh` seconds, and used for `stale` seconds after the last
    successful fetch. `authority` (PEM) is trusted instead of the system's. For tests,
    `insecure_loopback` lets keys be fetched without TLS from this machine.
    """

    url: str
    """The issuer, as its tokens name it (`iss`)."""
    audience: str
    """Whom its tokens must be meant for (`aud`)."""
    key_set: Path | None = None
    key_set_url: str = ""
    discovery: bool = False
    authority: Path | None = None
    refresh: float = 300.0
    stale: float = 3600.0
    insecure_loopback: bool = False

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
    """`mac_key`: a private file of 32 random bytes or more, the same on every gateway of a
    registry. Without it API keys are neither issued nor accepted.
    """

    mac_key: Path | None = None


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """What the engine trusts apart from the database: root keys, and what it saw last."""

    root_keys: tuple[Path, ...]
    """The public keys (PEM) of the policy's roots, pinned."""
    threshold: int
    """How many of them must have signed a policy."""
    policy: Path
    """The first policy, which begins a new registry."""
    seen: Path
    """A file that the gateway keeps: the highest of all that it has verified. Back it up apart from
    the databases; nothing lower is believed again.
    """

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.root_keys):
            raise ConfigError("[trust] threshold must lie between 1 and the number of root_keys")


@dataclass(frozen=True, slots=True)
class RegistryStore:
    """`database`: a URL, of SQLite or PostgreSQL, or the path of a SQLite file. `artifacts`: a
    folder, or `s3://bucket/prefix`, whose service is at `artifacts_endpoint` unless it is AWS.
    `uploads`: a folder of this machine, for uploads that are not finished. `log_key`
    and `freshness_key`: PEM files, or `pkcs11:` URIs; `ml_dsa_key`, a file, signs beside the first.
    `next_log_key` and `next_freshness_key` follow them (`sealgate key rotate`); without, the files
    `NAME.next.key` beside them do.
    """

    database: Path | str
    artifacts: Path | str
    origin: str
    """The name of the registry's log, as the policy has it in `logs.registry`."""
    log_key: Path | str
    freshness_key: Path | str
    uploads: Path
    artifacts_endpoint: str = ""
    artifacts_region: str = ""
    """The bucket's region, where its service asks for one."""
    ml_dsa_key: Path | None = None
    next_log_key: Path | str | None = None
    next_freshness_key: Path | str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.artifacts, str):
            self.bucket(self.artifacts)
        elif self.artifacts_endpoint or self.artifacts_region:
            raise ConfigError(
                "[registry] artifacts_endpoint and artifacts_region need artifacts = "
                "'s3://bucket/prefix'; artifacts is a folder here"
            )

    def bucket(self, url: str) -> Bucket:
        """What `artifacts` names where it is a URL. Raises: ConfigError."""
        try:
            return Bucket.parse(url, self.artifacts_endpoint, self.artifacts_region)
        except ValueError as error:
            raise ConfigError(f"[registry] artifacts {error}") from None


@dataclass(frozen=True, slots=True)
class AnswerStore:
    """Where answers are recorded, and apart from them the keys of subjects. Places and keys are
    given as in `[registry]`. Nobody prunes entries of the last `retention_days`.
    """

    database: Path | str
    """Where this gateway's answers are recorded: no other gateway writes there."""
    subjects: Path | str
    """Where the keys of subjects are kept until an erasure destroys them."""
    origin: str
    """The name of this answer log, as the policy has it in `logs.answers`."""
    log_key: Path | str
    """What signs the answer log."""
    ml_dsa_key: Path | None = None
    """A file, which signs beside it."""
    next_log_key: Path | str | None = None
    """What signs after it (`sealgate key rotate`); without, the file `NAME.next.key` beside it."""
    retention_days: int = 184


@dataclass(frozen=True, slots=True)
class RollbackKey:
    """`key`: the private key of a principal of the policy whose only role is `rollback`. Without it
    nothing is rolled back by itself.
    """

    key: Path | str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """`environment`: what this gateway is for, such as "production". Rights of the policy that name
    environments hold only where it is one of them; without it, nowhere.
    """

    environment: str = ""

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
    """Bounds that hold before and after authentication. Times are in seconds.

    While `waiting_calls` wait for one of the `threads`, inference is refused at once. The native
    transport needs no thread for a call: it refuses inference beyond three quarters of
    `concurrent_calls`, if that is more, and lets no slow version have more than a quarter of the
    `threads`.
    At most `watchers` streams follow changes and logs at once, without using any of the `threads`;
    each gets a message every `heartbeat` seconds at least.
    """

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
    """Calls in progress or waiting, on all connections together."""
    streams_per_connection: int = 128
    """Calls at once on one connection."""
    threads: int = 96
    """Calls that are worked on at once; no more than three quarters of them wait for a message of
    one caller."""
    waiting_calls: int = 64
    deadline: float = 10.0
    """The most that a call may take, whatever its caller grants."""
    stream: float = 3600.0
    """The same for a stream."""
    idle: float = 300.0
    """How long a stream may wait for its other end: for its next request, or to take a part."""
    generation: float = 600.0
    """The most that an answer of a language model may take."""
    watchers: int = 64
    heartbeat: float = 10.0
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
