"""What an installation writes for its gateway: `gateway.toml`."""

from collections.abc import Sequence

from sealgate.setup.tokens import AUDIENCE, ISSUER


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
