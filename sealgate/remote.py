"""A connection to a gateway: TLS, a credential, and the reasons that come back."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sealgate.reasons import Reason
from sealgate.trust.keys import PublicKey

_DOMAIN = "sealgate"
_LARGEST_MESSAGE = 64 * 1024 * 1024


class ProfileError(Exception):
    """A profile is unusable; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a person has on their own machine: endpoint, credential, keys, and whom they trust.

    Either `token`, or `certificate` with `certificate_key`, is the credential. `root_keys` are
    the pinned keys of the policy's root.
    """

    name: str
    endpoint: str
    server_authority: Path
    root_keys: tuple[Path, ...]
    root_threshold: int
    token: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    signing_key: Path | None = None
    model_signing_key: Path | None = None
    watermark_keys: Path | None = None

    @classmethod
    def read(cls, path: Path) -> "Profile":
        """Raises: ProfileError."""
        try:
            table = tomllib.loads(path.read_text())
        except OSError as error:
            raise ProfileError(f"cannot read {path}: {error.strerror}") from None
        except tomllib.TOMLDecodeError as error:
            raise ProfileError(f"{path} is not TOML: {error}") from None
        folder = path.parent
        plain = {"name", "endpoint", "root_threshold"}
        values: dict[str, Any] = {
            key: value
            if key in plain
            else tuple(folder / item for item in value)
            if key == "root_keys"
            else folder / value
            for key, value in table.items()
        }
        try:
            return cls(**values)
        except TypeError as error:
            raise ProfileError(f"{path}: {str(error).partition('() ')[2]}") from None

    def pinned_roots(self) -> dict[str, PublicKey]:
        """The pinned root keys by key id."""
        keys = [PublicKey.from_pem(path.read_text()) for path in self.root_keys]
        return {key.keyid: key for key in keys}


def connect(profile: Profile) -> grpc.Channel:
    """Opens a TLS channel that carries the profile's credential."""
    certificate = profile.certificate.read_bytes() if profile.certificate else None
    key = profile.certificate_key.read_bytes() if profile.certificate_key else None
    credentials = grpc.ssl_channel_credentials(
        profile.server_authority.read_bytes(), key, certificate
    )
    if profile.token is not None:
        token = profile.token.read_text().strip()
        credentials = grpc.composite_channel_credentials(
            credentials, grpc.access_token_call_credentials(token)
        )
    options = [
        ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
        ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ]
    return grpc.secure_channel(profile.endpoint, credentials, options)


def reason_of(error: grpc.RpcError) -> Reason | None:
    """The reason that the gateway gave, or None where the call failed on its way."""
    if not isinstance(error, grpc.Call):
        return None
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(info) and info.domain == _DOMAIN and info.reason in Reason.__members__:
            return Reason[info.reason]
    return None
