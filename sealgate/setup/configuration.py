"""The configuration files of a new installation: `gateway.toml`, `console.toml`, `engine.toml`."""

from collections.abc import Sequence
from dataclasses import dataclass

from sealgate.setup.credentials import AUDIENCE, ISSUER


def configuration(
    tls: int, mutual: int, origins: tuple[str, str], root_keys: Sequence[str], threshold: int
) -> str:
    """The text. `tls` and `mutual` are ports of loopback; `origins` are those of the registry's log
    and of the answer log.
    """
    registry, answers = origins
    return f"""\
# Paths are relative to this file.

[listen]
# Callers with a bearer token.
tls = "127.0.0.1:{tls}"
# Callers with a certificate.
mutual = "127.0.0.1:{mutual}"

[tls]
certificate = "tls/gateway.pem"
key = "tls/gateway.key"
client_authority = "tls/callers.pem"

[[tokens]]
url = "{ISSUER}"
audience = "{AUDIENCE}"
key_set = "issuer/jwks.json"

# With this, the digests of API keys are made.
[api_keys]
mac_key = "keys/api-keys.key"

[trust]
root_keys = {list(root_keys)}
threshold = {threshold}
policy = "trust/policy.json"
seen = "seen.json"

""" + _records(registry, answers)


def _records(registry: str, answers: str) -> str:
    return f"""\
[registry]
database = "sqlite:///registry.db"
artifacts = "artifacts"
uploads = "uploads"
origin = "{registry}"
log_key = "keys/registry-log.key"
freshness_key = "keys/freshness.key"

[answers]
database = "answers.db"
subjects = "subjects.db"
origin = "{answers}"
log_key = "keys/answers.key"
"""


def console_configuration(port: int, mutual: int, root_keys: Sequence[str], threshold: int) -> str:
    """The text of `console.toml`: on loopback, without TLS, with sign-in by links."""
    return f"""\
# Paths are relative to this file.

[listen]
address = "127.0.0.1:{port}"
origin = "http://localhost:{port}"

[gateway]
endpoint = "127.0.0.1:{mutual}"
authority = "{SERVERS}"
certificate = "{CONSOLE}.pem"
key = "{CONSOLE}.key"

[trust]
root_keys = {list(root_keys)}
threshold = {threshold}

# Where `sealgate console link` leaves what its links lead to.
[links]
folder = "console-links"
"""


SERVERS = "tls/servers.pem"
# The console's client certificate, which names nobody, with its key.
CONSOLE = "tls/console"
SOCKET = "engine/engine.sock"
NAME = "engine"
# The engine's certificate, and the gateway's for it, with their keys.
SERVER, CLIENT = "tls/engine", "tls/engine-client"


@dataclass(frozen=True, slots=True)
class EnginePlace:
    """Where a separate engine listens: `address` as host:port, or a unix socket if it is empty.

    Raises: ValueError for an address of another form.
    """

    address: str = ""

    def __post_init__(self) -> None:
        if self.address and not (self.host and self.address.rpartition(":")[2].isdigit()):
            raise ValueError(f"{self.address!r} is not of the form host:port")

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the engine's machine needs, besides the root keys and the artifacts."""
        tls = (f"{SERVER}.pem", f"{SERVER}.key", f"{CLIENT}.pem") if self.address else ()
        return ("engine.toml", f"keys/{NAME}.key", *tls)

    def gateway_section(self) -> str:
        """Return the section `[engine]` of `gateway.toml`."""
        reached = f'socket = "{SOCKET}"\n'
        if self.address:
            reached = f"""\
address = "{self.address}"
certificate = "{SERVER}.pem"
client_certificate = "{CLIENT}.pem"
client_key = "{CLIENT}.key"
"""
        return f"""
# The engine is a process of its own: sealgate serve engine
[engine]
{reached}"""

    def configuration(self, root_keys: Sequence[str], threshold: int) -> str:
        """The text of `engine.toml`."""
        listen = f'socket = "{SOCKET}"\n'
        if self.address:
            listen = f"""\
tls = "{self.address}"

[tls]
certificate = "{SERVER}.pem"
key = "{SERVER}.key"
gateways = ["{CLIENT}.pem"]
"""
        return f"""\
# Paths are relative to this file.

[listen]
{listen}
[trust]
root_keys = {list(root_keys)}
threshold = {threshold}
seen = "engine/seen.json"

# Read only.
[artifacts]
place = "artifacts"

[engine]
name = "{NAME}"
key = "keys/engine.key"
"""
